"""The service: a queue of sweeps over one pool of workers, an HTTP API and a live page, by the front door of `app`."""
