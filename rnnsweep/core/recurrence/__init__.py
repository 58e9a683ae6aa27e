"""The time loop of simple recurrent cells, by interchangeable engines."""
