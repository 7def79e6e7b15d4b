"""Looking into a collector that runs: the admin port (server.py, console.py), and `top` (top.py, busiest.py)."""
