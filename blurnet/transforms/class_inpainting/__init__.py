"""CIIDefence: class activation maps, the boxes around their maxima, and the defense made of both."""
