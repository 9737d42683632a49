"""Progress bars of a run, and the time that it has left."""
