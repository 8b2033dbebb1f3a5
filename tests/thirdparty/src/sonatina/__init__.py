"""One of every kind of component, from somebody who knows musicemo from its documentation alone."""
