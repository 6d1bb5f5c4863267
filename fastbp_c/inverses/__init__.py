"""Inverse Hessians as samples come and go."""
