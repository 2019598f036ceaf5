"""Parts that several slices share, and that boards replace by the primitives of a device."""
