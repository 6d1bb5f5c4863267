"""Inverse Hessians."""
