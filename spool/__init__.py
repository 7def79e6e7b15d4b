"""The spool: what the collector and the shippers agree on, and the specification of it.

    collector --- one writer ---> spool.db <--- read only --- shipper of NAME --- one writer ---> delivery-NAME.db
        |                                                                                              |
        +---- reads which batches are settled, to make room <------------------------------------------+

A spool is a folder of mode 0700. Everything in it:

    spool.db                  batches, windows, losses         written by the collector alone
    delivery-NAME.db          states, attempts, minutes        written by the shipper of destination NAME, and by the
                                                               operator's changing commands, in short transactions
    heartbeat-WHO.json        last sign of life of a process   each process its own
    WHO.lock                  held while a process runs        each process its own
    hangs/*.txt               facts and stacks of what was     the process that was stuck, or the watchdog
                              stuck (hangfile.py)
    errand-*                  what an operator asks of the     the command that asks, and the collector that answers
                              collector (errand.py)
    ballast                   room to delete in when the disk is full
    last-words                what a collector could not commit before it had to stop (lastwords.py)
    *.corrupt-TIME            damaged, set aside by who writes it; *.salvaged beside it: what could be read is saved
    *.of-spool-*              set aside, never read again by itself

**Units.** Clients send *lines*; a line carries *samples*; samples of one *series* (name, type, tags) in one *window*
make one *point*; the points of a window are committed as one *batch*, or as several of at most 5,000 points in one
transaction.

DogStatsD's events and service checks travel beside them: a line is one, and each different one of a window is a point
of its own kind with the words in `fields` (batch.Point). They are acknowledged, replayed and lost like any other; what
a destination's format cannot carry of them, its protocol leaves out (readings.py).

**Batches.** A row of `batches` is immutable. Its `id` is never used again (AUTOINCREMENT); its `key` is the random id
of the spool and the id, and is what every receiver knows it by, for ever. `payload` is one gzip member with one line
of JSON (batch.py); `sha256` is the hash of exactly these bytes and is compared before each send. Several batches are
sent in one request by putting their members one after the other: nothing is encoded twice, and a retry is the same
bytes. Only payloads have a hash: a number in `windows` that the disk changed is noticed by `holdfast audit`, where it
no longer adds up, and cannot be put right; what it counted is in the payloads.

**States.** At each destination a batch is in exactly one:

    unsent        no row in `states`                 the shipper will send it
    acknowledged  a row                              the server said that it has this key
    dead          a row, with the server's words     the server will never take these bytes; or they rotted on our disk
    expired       a row                              older than the destination's max_age_s when its turn came, or than
                                                     what the server takes (then a row with the server's words)
    held          a row, with who held it            an operator keeps it back; `holdfast release` makes it unsent

    commit -> unsent -> acknowledged     a complete answer inside the deadline that lists the key
                     -> dead             refused, and again after another was acknowledged (shipper/trouble.py)
                     -> expired          age
                     -> held -> unsent   an operator
    acknowledged, dead, expired -> unsent   `holdfast replay`, under the same key or as new; `changes` has who and when
    dead   -> expired                    `holdfast dead drop`: given up by a person, whose name is in the reason

`holdfast replay --as-new` sends a batch to one destination under a key of its own there, `9f3c...-8841~1`, then `~2`:
for a server that lost the data and kept the keys. How often is kept in `renewals` of the delivery file, in the
transaction that makes the batch unsent, and does not change while it is unsent: so every attempt sends the same key and
the same text (shipper/rewritten.py). If that file is lost, what goes again goes under the first key.

A batch that is too large for a server goes there in parts (shipper/parts.py): documents like its own with some of its
points, under keys like `9f3c...-8841/1-2500`. Parts have no state; the batch is acknowledged when all its points are.
If the server refuses some of them for good, the batch is dead and its reason names them; the others have arrived. A
receiver that knows a part or the whole takes no point of it twice.

There is no state for "being sent". That is a fact about a process and ends with it, so nothing has to be expired,
unlocked or repaired after a crash.

**Guarantees, and what a crash leaves.** Both files are WAL with synchronous=FULL. Delivery files too: the collector
deletes what is acknowledged, for good, and were the acknowledgement lost in a power cut after that, nobody could say
what became of the batch.

    the collector dies ...  before COMMIT      the window of that moment is lost: it was in memory only
                            after COMMIT       nothing is lost, also not by a power cut
    a shipper dies ...      before the answer  the batch is unsent and goes again: same key, same bytes
                            after the answer, before its COMMIT: the same; the receiver knows the key and counts once
                            after COMMIT       nothing to do
    delivery-NAME.db is lost                   everything still held goes again: duplicates by key, no loss
    spool.db is damaged                        it is set aside; the collector goes on with a new one
    a shipper meets damage                     in its own file: sets it aside; in spool.db: asks the collector to look

**Damage.** A new spool.db takes over the spool's id and goes on above every number that was ever used, as the damaged
file, the collector's heartbeat and the delivery files tell: an id never means two batches, and the states stay true.
Whole rows of the damaged file, each proved by its hash, are put back under their keys between windows; `put_back` in
`meta` changes whenever that happens, or an older copy took the file's place, and shippers then look for unsent batches
from the beginning. Every id up to `known_through` in `meta` was given out once: what is neither held nor settled
becomes a loss with reason 'damage', and so do numbers that were left out for safety (a row of 0 batches). What was
settled and cannot be read is no loss and is told of nowhere; it can only not be replayed.

Delivery is at least once. It is exactly once where the receiver remembers keys, as holdfast-receiver does.

**Who may wait for whom.** Nobody shares a lock with the collector: readers of a WAL file never block its writer, and
the collector never opens a delivery file for writing. So a shipper that is stopped in the middle of anything delays
no commit. What a stopped reader can do is keep the WAL from shrinking; that is why every method of the readers ends
its statement first. Once it has gone, a large WAL is moved into the file beside the commits (checkpoint.py).

**Losses.** Data that is given up is written down in the same transaction: a row of `losses` says when, why, which
windows and batches, how many points and lines, and at which destinations it was still unsent. What is in no window,
no rejection and no kernel drop was never received; what is in a window is a batch, or was acknowledged before it
went, or is a loss.

**Time.** Instants are Unix seconds of the wall clock, as REAL. A window is also counted: `seq` grows by one with each
window over the life of the spool and never repeats, so a clock that jumps neither loses nor merges a window. Whatever
waits or measures uses the monotonic clock.

**Schema.** `PRAGMA user_version` is the number of steps in schema.py that a file has seen. An older file is brought
up to date in one transaction by the process that writes it; a newer one is refused untouched.

Views `points` and `recent_points` unfold the payloads: (batch, ts, name, type, tags, stat, value), `ts` being the end
of the window; whole points, with sketches and words, are what `json_each(batch_json(payload))` gives. The function
`batch_json` is there in `holdfast query`, and in sqlite-utils through our plugin.
"""
