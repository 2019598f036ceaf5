"""The link: frames from and to the host."""
