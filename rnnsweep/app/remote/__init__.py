"""The other side of the service's API: sweeps that live in a store elsewhere, with the methods that local ones have."""
