"""The agent inside the user's interpreter: standard library only, Python >= 3.7.

Started as `python AGENT_DIR SOCKETS_DIR`, where AGENT_DIR is this folder. Its modules import each other relatively: in the user's
interpreter they live in a package of a private name (see `__main__`), so that no module of the user's can be mistaken for one of ours.
"""
