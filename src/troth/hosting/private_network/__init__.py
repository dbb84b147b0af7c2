"""A network of the platform's own: the private side in one network namespace, the edge in another, and a
virtual cable between them. Neither has a way to this machine's network but what is made for it.

    private side   everything but the edge; every port on loopback, as without such a network
    edge's side    the edge alone; its public sockets are made in this machine's network and handed to it
    cable          the private side's interface is `edge`, the edge's is `private`; rules on both ends
"""
