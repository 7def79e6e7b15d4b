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
    hangs/*.txt               stacks of what was stuck         the process that was stuck
    ballast                   room to delete in when the disk is full
    *.corrupt-*, *.of-spool-* set aside, never read again by itself

**Units.** Clients send *lines*; a line carries *samples*; samples of one *series* (name, type, tags) in one *window*
make one *point*; the points of a window are committed as one *batch*, or as several of at most 5,000 points in one
transaction.

**Batches.** A row of `batches` is immutable. Its `id` is never used again (AUTOINCREMENT); its `key` is the random id
of the spool and the id, and is what every receiver knows it by, for ever. `payload` is one gzip member with one line
of JSON (batch.py); `sha256` is the hash of exactly these bytes and is compared before each send. Several batches are
sent in one request by putting their members one after the other: nothing is encoded twice, and a retry is the same
bytes.

**States.** At each destination a batch is in exactly one:

    unsent        no row in `states`                 the shipper will send it
    acknowledged  a row                              the server said that it has this key
    dead          a row, with the server's words     the server will never take these bytes; or they rotted on our disk
    expired       a row                              older than the destination's max_age_s when its turn came
    held          a row, with who held it            an operator keeps it back; `holdfast release` makes it unsent

    commit -> unsent -> acknowledged     a complete answer inside the deadline that lists the key
                     -> dead             refused, and another batch was acknowledged after that (shipper/trouble.py)
                     -> expired          age
                     -> held -> unsent   an operator
    acknowledged, dead, expired -> unsent   `holdfast replay`, under the same key; who, when and what stay in `changes`

There is no state for "being sent". That is a fact about a process and ends with it, so nothing has to be expired,
unlocked or repaired after a crash.

**Guarantees, and what a crash leaves.** Both files are WAL with synchronous=FULL.

    the collector dies ...  before COMMIT      the window of that moment is lost: it was in memory only
                            after COMMIT       nothing is lost, also not by a power cut
    a shipper dies ...      before the answer  the batch is unsent and goes again: same key, same bytes
                            after the answer, before its COMMIT: the same; the receiver knows the key and counts once
                            after COMMIT       nothing to do
    delivery-NAME.db is lost                   everything still held goes again: duplicates by key, no loss
    spool.db is damaged                        it is set aside; the collector goes on with a new one

Delivery is at least once. It is exactly once where the receiver remembers keys, as holdfast-receiver does.

**Who may wait for whom.** Nobody shares a lock with the collector: readers of a WAL file never block its writer, and
the collector never opens a delivery file for writing. So a shipper that is stopped in the middle of anything delays
no commit. What a stopped reader can do is keep the WAL from shrinking; that is why every method of the readers ends
its statement first.

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
of the window. They need the function `batch_json`, which `holdfast query` has, and sqlite-utils through our plugin.
"""
