"""L2: the page: static files as the package ships them, and how a browser gets them."""
