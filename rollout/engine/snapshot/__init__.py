"""Snapshots: a dump of a plan's tables, and the proof that it can be restored.

``contents``  which relations belong to a plan, and what they hold in one of the server's snapshots
``programs``  where pg_dump and pg_restore are
``dump``      the dump as a stream of bytes
``archive``   reading a dump: its table of contents, and putting it into a database
``scratch``   a database that is there for as long as a dump is tested in it
``restore``   trying a dump out, and replacing an environment's tables by it
``trial``     trying out in phase 0 whether a snapshot could be verified
"""
