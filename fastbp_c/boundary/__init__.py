"""Where Python ends: checks of arrays, scratch memory."""
