"""One module a page or a group of pages, as urls.py names them."""
