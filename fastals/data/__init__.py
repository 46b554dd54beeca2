"""Users x items data: the one container, its ids and events, and files from the net."""
