"""The reference server and embedded default: see app.py for its paths, store.py for what it keeps."""
