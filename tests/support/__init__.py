"""What tests share, from the smallest to the largest piece they put to the test.

helpers.py           fixed keys and randomness, and a session pair in memory
hall.py              a participant without sockets: a server and a desk played by hand
conversation.py      a client that only takes notes, for the tests of views
loopback.py          whole servers and clients on one reactor, over the loopback
taken.py             all that a server ever had and all that passed, and what that opens
secrets.py           every form in which the key of a room could show
simulated.py         a machine in memory: time, processes, descriptors, a network
simulated_record.py  what a simulation writes down, for the laws over it
simulated_liar.py    the server of a simulation, which may lie to a member
cheap_keys.py        stand-ins for RSA and X25519, for simulations
processes.py         real processes through pipes
talking.py           servers of a cluster, and members who talk whatever befalls them
redis.py             a real Redis
terminals.py         real processes at a terminal, and what stands on it
redis.py             a real Redis of its own for a test
fakestream.py        a Redis in memory that is cut, full, or has lost its last writes
proxy.py             a TCP proxy that does to connections what cables do
"""
