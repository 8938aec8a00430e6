"""The face: what a person sees in a browser. Imports the method and the store, never the other way round."""
