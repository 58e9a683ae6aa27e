"""TensorBoard: a folder of event files per trial, written without TensorFlow and without torch."""
