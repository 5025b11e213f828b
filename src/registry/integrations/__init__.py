"""Classes of other libraries, made to fit models of the registry; each module needs its library."""
