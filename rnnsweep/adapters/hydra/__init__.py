"""Configuration by Hydra: config directories, override grammar, composition. Plain data comes out."""
