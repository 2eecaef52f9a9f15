"""The verb `harvest`: models run over documents, and the streams they are read through."""
