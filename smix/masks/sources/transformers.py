"""Stub; being written."""
def transformers_network(place, device): raise NotImplementedError
