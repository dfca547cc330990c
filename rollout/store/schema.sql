-- SPDX-License-Identifier: Apache-2.0
--
-- The store of one run. docs/store.md explains formats and shows queries; read through the views
-- at the end, whose names are plain plurals.
--
-- Conventions
--   n            row number inside this file: says nothing outside it, is in no hash.
--   4096 * n + i the i-th of something that belongs to row n: found without an index, and put at
--                the end of its table, where putting is cheap.
--   id           32 hex digits derived from the run and the sampling key, never counted.
--   ANY          text from outside: TEXT when it is valid UTF-8 without NUL, else BLOB, so that any
--                bytes come back as they were. Figures marked "real" are ANY as well: a REAL column
--                would turn -0.0 into 0.0. They hold floating point values only.
--   observational  differs between machines and attempts; outside ContentHash. The observational
--                tables are attempt, observed_metric, checkpoint, event, dropped; the observational
--                columns are marked.

-- What this store is about: one row.
CREATE TABLE run (
  only         INTEGER PRIMARY KEY CHECK (only = 1),
  id           TEXT    NOT NULL,  -- derived from config hash and seed
  parent_run   TEXT    NOT NULL,  -- the run it was branched from; empty: none
  fork_version INTEGER NOT NULL,  -- policy version it was branched at
  name         ANY     NOT NULL,  -- observational: the folder's name
  config       ANY     NOT NULL,  -- observational: resolved textproto (config_hash stands for it)
  config_hash  TEXT    NOT NULL,  -- of everything in the config that can change a result
  code_version ANY     NOT NULL   -- observational: of the first attempt
) STRICT;

-- Observational. One row for each time a process worked on the run.
CREATE TABLE attempt (
  n            INTEGER PRIMARY KEY,  -- from 1
  started      INTEGER NOT NULL,     -- microseconds since 1970, UTC
  ended        INTEGER,              -- the same; null: still running, or killed
  end_reason   ANY     NOT NULL,     -- '', 'finished', 'interrupted', 'failed: ...'
  host         ANY     NOT NULL,
  pid          INTEGER NOT NULL,
  environment  ANY     NOT NULL      -- JSON: versions, CPU, settings
) STRICT;

-- Weights that existed. Version 0 is the base.
CREATE TABLE policy_version (
  version          INTEGER PRIMARY KEY,
  parent           INTEGER NOT NULL,  -- version it was updated from; -1: none
  weights_hash     ANY     NOT NULL,
  optimizer_hash   ANY     NOT NULL,
  router_bias_hash ANY     NOT NULL,
  data_cursor      ANY     NOT NULL,  -- JSON: where the task stream stood
  iteration        INTEGER NOT NULL   -- observational: the iteration that made it; 0: none did
) STRICT;

-- Names of a policy's parameters, shared by its versions.
CREATE TABLE tensor_list (
  n     INTEGER PRIMARY KEY,
  names TEXT    NOT NULL UNIQUE  -- JSON array
) STRICT;

-- Derived: policy_version.weights_hash stands for it in hashes.
CREATE TABLE version_tensors (
  version      INTEGER PRIMARY KEY REFERENCES policy_version (version),
  list         INTEGER NOT NULL REFERENCES tensor_list (n),
  fingerprints TEXT    NOT NULL  -- JSON array: 64 bits of each one's values, shown signed
) STRICT;

-- Prompts with what is needed to judge answers.
CREATE TABLE task (
  n          INTEGER PRIMARY KEY,
  hash       TEXT    NOT NULL UNIQUE,  -- SHA-256 over every field
  task_id    ANY     NOT NULL,         -- unique in its source
  source     ANY     NOT NULL,
  split      ANY     NOT NULL,         -- train, test, heldout
  position   INTEGER NOT NULL,         -- index in the source
  prompt     ANY     NOT NULL,         -- the question alone
  answer     ANY     NOT NULL,         -- gold; empty: none
  tests      ANY     NOT NULL,         -- JSON; empty: none
  verifier   ANY     NOT NULL,         -- registry name; empty: the default
  difficulty ANY     NOT NULL,         -- real, the source's own scale
  metadata   ANY                       -- JSON object of texts; BLOB: see docs/store.md; null: empty
) STRICT;

-- What a trajectory was sampled with, shared by many.
CREATE TABLE setup (
  n              INTEGER PRIMARY KEY,
  backend        ANY     NOT NULL,  -- observational: name/ISA/build that sampled
  tokenizer_hash ANY     NOT NULL,
  template       ANY     NOT NULL,  -- prompt template's name
  temperature    ANY     NOT NULL,  -- real
  top_p          ANY     NOT NULL,  -- real
  top_k          INTEGER NOT NULL,  -- 0: all
  max_tokens     INTEGER NOT NULL,
  UNIQUE (backend, tokenizer_hash, template, temperature, top_p, top_k, max_tokens)
) STRICT;

-- Verifiers by name/version/config hash.
CREATE TABLE verifier (
  n    INTEGER PRIMARY KEY,
  name ANY NOT NULL UNIQUE
) STRICT;

-- The completions of one prompt, rewarded together.
CREATE TABLE task_group (
  n           INTEGER PRIMARY KEY,
  id          TEXT    NOT NULL UNIQUE,
  task        INTEGER NOT NULL REFERENCES task (n),
  run_seed    INTEGER NOT NULL,  -- key: 64 bits, shown signed
  purpose     INTEGER NOT NULL,  -- key: 0 train, 1 eval, 2 branch, 3 replay, 4 data, 5 init
  ordinal     INTEGER NOT NULL,  -- key: counts groups of a purpose
  attempt     INTEGER NOT NULL,  -- key: refill of the same ordinal
  sample      INTEGER NOT NULL,  -- key: unused, kept as given
  turn        INTEGER NOT NULL,  -- key: unused, kept as given
  iteration   INTEGER NOT NULL,  -- from 1; 0 outside training
  version     INTEGER NOT NULL,  -- policy version of every completion
  asked       INTEGER NOT NULL,  -- completions wanted, G
  got         INTEGER NOT NULL,  -- judged ones: rows of trajectory
  outages     INTEGER NOT NULL,  -- completions left out because the verifier failed
  skipped     INTEGER NOT NULL,  -- completions that cannot be judged at all
  baseline    ANY     NOT NULL,  -- real: mean reward
  reward_std  ANY     NOT NULL,  -- real
  flat        INTEGER NOT NULL,  -- 1: all rewards equal
  drop_reason TEXT    NOT NULL,  -- 'none', or why it was not trained on
  first       INTEGER NOT NULL,  -- trajectory.n of its first; the others follow; 0: it has none
  digest      BLOB    NOT NULL,  -- fingerprint of the group's content, as put
  generate_us INTEGER NOT NULL,  -- observational
  verify_us   INTEGER NOT NULL,  -- observational
  content     BLOB               -- SHA-256 of the group's content, put where its channels and
                                 -- texts were removed; null: they are here
) STRICT;
CREATE INDEX task_group_iteration ON task_group (iteration);

CREATE TABLE trajectory (
  n                 INTEGER PRIMARY KEY,
  id                TEXT    NOT NULL UNIQUE,
  "group"           INTEGER NOT NULL REFERENCES task_group (n),
  position          INTEGER NOT NULL,  -- in its group, from 0
  parent            INTEGER REFERENCES trajectory (n),  -- branched from it; null: not a branch
  branch_at_token   INTEGER,           -- first token that is not the parent's
  setup             INTEGER NOT NULL REFERENCES setup (n),
  run_seed          INTEGER NOT NULL,  -- key, as in task_group
  purpose           INTEGER NOT NULL,
  ordinal           INTEGER NOT NULL,
  attempt           INTEGER NOT NULL,
  sample            INTEGER NOT NULL,
  turn              INTEGER NOT NULL,
  stop_reason       TEXT    NOT NULL,  -- stop_token, length, context, cancelled
  tokens            INTEGER NOT NULL,  -- prompt and completion
  completion_tokens INTEGER NOT NULL,  -- under loss masks
  reward            ANY     NOT NULL,  -- real: sum of its parts
  advantage         ANY     NOT NULL   -- real
) STRICT;

-- Pieces of trajectories with their decoded texts. What all trajectories of a group have in the
-- same place, like their prompt, stands once.
CREATE TABLE segment (
  n           INTEGER PRIMARY KEY,  -- 4096 * trajectory + position in it
  trajectory  INTEGER NOT NULL REFERENCES trajectory (n),
  shared      INTEGER NOT NULL,  -- 1: of every trajectory of the group; it stands with the first
  role        ANY     NOT NULL,  -- user, assistant, tool
  kind        TEXT    NOT NULL,  -- prompt, model, tool, environment
  first_token INTEGER NOT NULL,
  token_count INTEGER NOT NULL,
  turn        INTEGER NOT NULL,
  loss_mask   INTEGER NOT NULL,  -- 1: learned from
  version     INTEGER NOT NULL,  -- behaviour version; -1: not sampled
  call_id     ANY     NOT NULL,  -- of a tool call; empty: none
  text        ANY     NOT NULL,
  CHECK (n >> 12 = trajectory)
) STRICT;

-- Forms that arrays over tokens come in, shared by many.
CREATE TABLE channel_kind (
  n      INTEGER PRIMARY KEY,
  name   TEXT    NOT NULL,  -- token_ids, behaviour_logprobs, entropy, routes, ...
  format INTEGER NOT NULL,  -- form of the bytes, docs/store.md
  dtype  TEXT    NOT NULL,  -- u16, i32, f32
  layout TEXT    NOT NULL,  -- all: a value a token; sampled: a value a token of model segments
  codec  TEXT    NOT NULL,  -- raw, zstd (byte planes, then zstd)
  layers INTEGER NOT NULL,  -- of routes; else 0
  slots  INTEGER NOT NULL,  -- of routes; else 0
  UNIQUE (name, format, dtype, layout, codec, layers, slots)
) STRICT;

-- Arrays over tokens of trajectories. A new channel is a row, not a migration.
CREATE TABLE channel (
  n            INTEGER PRIMARY KEY,  -- 4096 * trajectory + 0, 1, ...
  trajectory   INTEGER NOT NULL REFERENCES trajectory (n),
  trajectories INTEGER NOT NULL,  -- of the group, from `trajectory` on, one after another
  kind         INTEGER NOT NULL REFERENCES channel_kind (n),
  iteration    INTEGER NOT NULL,  -- that added it; 0: came with the trajectories
  chunk        INTEGER NOT NULL,  -- pieces are joined in this order; one piece so far: 0
  shard        INTEGER NOT NULL,  -- where the bytes are; 0: here
  count        INTEGER NOT NULL,  -- values
  crc32c       INTEGER NOT NULL,  -- over the raw little-endian values
  bytes        BLOB    NOT NULL,
  CHECK (n >> 12 = trajectory)
) STRICT;
CREATE INDEX channel_added ON channel (iteration) WHERE iteration > 0;

-- Names and weights of parts, in lists that many verdicts share.
CREATE TABLE part (
  list     INTEGER NOT NULL,  -- from 1
  position INTEGER NOT NULL,  -- in the list, from 0
  name     ANY     NOT NULL,
  weight   ANY,               -- real; null: a verdict's part, before weights
  gated    INTEGER NOT NULL,  -- 1: its gate was closed
  segment  INTEGER,           -- null: about the whole
  PRIMARY KEY (list, position)
) STRICT, WITHOUT ROWID;

-- What a verifier said. Position 0 is the live verdict, the one that was rewarded.
CREATE TABLE verdict (
  n                   INTEGER PRIMARY KEY,  -- 4096 * trajectory + position
  trajectory          INTEGER NOT NULL REFERENCES trajectory (n),
  position            INTEGER NOT NULL,  -- 0: live; later judgements follow
  origin              TEXT    NOT NULL,  -- live, rescore, replay
  used_for_training   INTEGER NOT NULL,
  verifier            INTEGER NOT NULL REFERENCES verifier (n),
  outcome             TEXT    NOT NULL,  -- correct, wrong, unparsable, limit_exceeded, violation
  extracted           ANY     NOT NULL,  -- the answer as extracted
  extracted_truncated INTEGER NOT NULL,
  detail              ANY     NOT NULL,  -- a sentence
  evidence            ANY,               -- JSON object of texts; BLOB: docs/store.md; null: none
  attempts            INTEGER NOT NULL,  -- observational: outages before it, plus 1
  elapsed_us          INTEGER NOT NULL,  -- observational
  parts               INTEGER,           -- part.list of what it measured; null: nothing
  part_values         TEXT,              -- JSON array: raw figures; null there: not computed
  rewards             INTEGER,           -- part.list of the reward given for it; null: none
  reward_values       TEXT,              -- likewise; value = raw * weight unless gated or null
  CHECK (n = trajectory << 12 | position)
) STRICT;

-- Observational. Completions that were left out of their group, for the operator.
CREATE TABLE dropped (
  "group"    INTEGER NOT NULL REFERENCES task_group (n),
  position   INTEGER NOT NULL,
  outcome    TEXT    NOT NULL,  -- outage, skipped
  detail     ANY     NOT NULL,
  evidence   ANY,
  verifier   ANY     NOT NULL,
  elapsed_us INTEGER NOT NULL,
  PRIMARY KEY ("group", position)
) STRICT, WITHOUT ROWID;

-- One row for each iteration that was finished.
CREATE TABLE iteration (
  iteration INTEGER PRIMARY KEY,
  digest    BLOB NOT NULL,         -- fingerprint of what the iteration added
  content   BLOB                   -- SHA-256 of it, put where traces of its groups were removed
) STRICT;

-- One optimizer step.
CREATE TABLE policy_update (
  iteration     INTEGER NOT NULL REFERENCES iteration (iteration),
  epoch         INTEGER NOT NULL,
  minibatch     INTEGER NOT NULL,
  update_id     ANY     NOT NULL,
  slots         INTEGER NOT NULL,  -- gradient slots
  learning_rate ANY     NOT NULL,  -- real
  loss          ANY     NOT NULL,  -- JSON: the loss as sent
  hash_before   ANY     NOT NULL,  -- of the weights
  hash_after    ANY     NOT NULL,
  sequence      TEXT    NOT NULL,  -- JSON array of trajectory.n: the i-th was summed in slot
                                   -- i mod slots
  PRIMARY KEY (iteration, epoch, minibatch)
) STRICT, WITHOUT ROWID;

-- Figures that any machine computes again.
CREATE TABLE metric (
  iteration INTEGER NOT NULL REFERENCES iteration (iteration),
  name      ANY     NOT NULL,  -- interfaces: reward/mean, ...
  value     ANY,               -- real; null: not a number
  PRIMARY KEY (iteration, name)
) STRICT, WITHOUT ROWID;

-- Observational. Figures of clocks and machines.
CREATE TABLE observed_metric (
  iteration INTEGER NOT NULL REFERENCES iteration (iteration),
  name      ANY     NOT NULL,  -- time/..., tokens/per_s, memory/...
  value     ANY,               -- real; null: not a number
  PRIMARY KEY (iteration, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE evaluation (
  iteration                INTEGER NOT NULL,  -- after which it was made; 0: the base
  name                     ANY     NOT NULL,  -- of the task set
  version                  INTEGER NOT NULL,  -- policy version judged
  n                        INTEGER NOT NULL,  -- tasks
  k                        INTEGER NOT NULL,  -- completions a task
  accuracy                 ANY,               -- real: avg@k; in this table null: not a number
  ci_low                   ANY,               -- real: 95 % interval
  ci_high                  ANY,               -- real
  truncated                INTEGER NOT NULL,
  outages                  INTEGER NOT NULL,
  skipped                  INTEGER NOT NULL,
  median_completion_tokens ANY,               -- real
  mean_completion_tokens   ANY,               -- real
  waits_per_completion     ANY,               -- real
  format_mean              ANY,               -- real
  digest                   BLOB    NOT NULL,  -- fingerprint of the evaluation's rows
  PRIMARY KEY (iteration, name)
) STRICT;

CREATE TABLE evaluation_at_k (
  iteration INTEGER NOT NULL,
  name      ANY     NOT NULL,
  kind      TEXT    NOT NULL,  -- pass, maj
  k         INTEGER NOT NULL,
  value     ANY,               -- real; null: not a number
  PRIMARY KEY (iteration, name, kind, k),
  FOREIGN KEY (iteration, name) REFERENCES evaluation (iteration, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE evaluation_item (
  iteration        INTEGER NOT NULL,
  name             ANY     NOT NULL,
  position         INTEGER NOT NULL,  -- of the task in the set
  task_id          ANY     NOT NULL,
  task_hash        ANY     NOT NULL,
  n                INTEGER NOT NULL,  -- judged completions
  correct          INTEGER NOT NULL,
  majority         ANY     NOT NULL,  -- most frequent extracted answer
  majority_correct INTEGER NOT NULL,
  answers          ANY,               -- JSON: extracted answer -> count; BLOB: docs/store.md
  PRIMARY KEY (iteration, name, position),
  FOREIGN KEY (iteration, name) REFERENCES evaluation (iteration, name)
) STRICT, WITHOUT ROWID;

-- Completions of an evaluation, without their tokens: key and version regenerate them.
CREATE TABLE evaluation_completion (
  n                 INTEGER PRIMARY KEY,
  iteration         INTEGER NOT NULL,
  name              ANY     NOT NULL,
  position          INTEGER NOT NULL,  -- of the task in the set
  sample            INTEGER NOT NULL,
  trajectory_id     ANY     NOT NULL,  -- not in trajectory: equal in every evaluation of a task
  outcome           TEXT    NOT NULL,
  extracted         ANY     NOT NULL,
  stop_reason       TEXT    NOT NULL,
  completion_tokens INTEGER NOT NULL,
  reward            ANY     NOT NULL,  -- real
  completion        ANY     NOT NULL,
  UNIQUE (iteration, name, position, sample),
  FOREIGN KEY (iteration, name) REFERENCES evaluation (iteration, name)
) STRICT;

-- Observational: when checkpoints are made depends on interruptions.
CREATE TABLE checkpoint (
  iteration    INTEGER PRIMARY KEY,
  version      INTEGER NOT NULL,
  path         ANY     NOT NULL,  -- relative to the run
  weights_hash ANY     NOT NULL
) STRICT;

-- Observational. What happened, for the operator.
CREATE TABLE event (
  n         INTEGER PRIMARY KEY,
  at        INTEGER NOT NULL,  -- microseconds since 1970, UTC
  iteration INTEGER NOT NULL,
  kind      ANY     NOT NULL,
  text      ANY     NOT NULL
) STRICT;

-- Full-text search over segment.text. Derived, outside ContentHash; filled some texts behind the
-- table, up to text_index_state.indexed.
CREATE VIRTUAL TABLE text_index USING fts5 (
  text, content = 'segment', content_rowid = 'n', tokenize = 'unicode61', columnsize = 0);
CREATE TABLE text_index_state (
  only    INTEGER PRIMARY KEY CHECK (only = 1),
  indexed INTEGER NOT NULL         -- highest segment.n in text_index
) STRICT;
INSERT INTO text_index_state VALUES (1, 0);

-- ---------------------------------------------------------------------------------------------
-- Views.

CREATE VIEW groups AS
SELECT g.id, g.iteration, g.version, k.task_id, k.source, k.prompt, k.answer, g.asked, g.got,
       g.outages, g.skipped, g.baseline, g.reward_std, g.flat, g.drop_reason
FROM task_group g JOIN task k ON k.n = g.task;

CREATE VIEW trajectories AS
SELECT t.id, g.id AS group_id, g.iteration, g.version, k.task_id, k.source, t.sample, k.prompt,
       (SELECT s.text FROM segment s
        WHERE s.n >= t.n << 12 AND s.n < (t.n + 1) << 12 AND s.kind = 'model'
        ORDER BY s.n DESC LIMIT 1) AS completion,
       v.outcome, v.extracted, k.answer, t.reward, t.advantage, t.completion_tokens,
       t.stop_reason, g.drop_reason
FROM task_group g
JOIN trajectory t ON t.n >= g.first AND t.n < g.first + g.got
JOIN task k ON k.n = g.task
LEFT JOIN verdict v ON v.n = t.n << 12;

CREATE VIEW segments AS
SELECT t.id AS trajectory_id, s.n & 4095 AS position, s.role, s.kind, s.turn, s.first_token,
       s.token_count, s.loss_mask, s.version, s.text
FROM trajectory t JOIN segment s ON s.n >= t.n << 12 AND s.n < (t.n + 1) << 12
WHERE s.shared = 0
UNION ALL
SELECT t.id, s.n & 4095, s.role, s.kind, s.turn, s.first_token, s.token_count, s.loss_mask,
       s.version, s.text
FROM trajectory t
JOIN task_group g ON g.n = t."group"
JOIN segment s ON s.n >= g.first << 12 AND s.n < (g.first + 1) << 12
WHERE s.shared = 1;

CREATE VIEW channels AS
SELECT t.id AS trajectory_id, c.trajectories, f.name, c.iteration, f.dtype, f.layout, f.codec,
       c.count, length(c.bytes) AS stored_bytes
FROM channel c JOIN channel_kind f ON f.n = c.kind JOIN trajectory t ON t.n = c.trajectory;

CREATE VIEW verdicts AS
SELECT t.id AS trajectory_id, g.iteration, v.origin, v.outcome, v.extracted, k.answer, v.detail,
       CASE typeof(v.evidence) WHEN 'text' THEN v.evidence END AS evidence,
       f.name AS verifier, v.attempts, v.elapsed_us
FROM verdict v
JOIN trajectory t ON t.n = v.trajectory
JOIN task_group g ON g.n = t."group"
JOIN task k ON k.n = g.task
JOIN verifier f ON f.n = v.verifier;

CREATE VIEW rewards AS
SELECT t.id AS trajectory_id, g.iteration, p.name AS part, x.value AS raw, p.weight, p.gated,
       CASE WHEN p.gated OR x.value IS NULL THEN 0.0 ELSE x.value * p.weight END AS value
FROM task_group g
JOIN trajectory t ON t.n >= g.first AND t.n < g.first + g.got
JOIN verdict v ON v.n = t.n << 12
JOIN json_each(v.reward_values) x
JOIN part p ON p.list = v.rewards AND p.position = x.key;

CREATE VIEW drops AS
SELECT g.iteration, g.id AS group_id, 'group' AS what, g.drop_reason AS reason, '' AS detail
FROM task_group g WHERE g.drop_reason <> 'none'
UNION ALL
SELECT g.iteration, g.id, 'completion', d.outcome, d.detail
FROM dropped d JOIN task_group g ON g.n = d."group";

CREATE VIEW updates AS
SELECT u.iteration, u.epoch, u.minibatch, u.update_id, u.slots, u.learning_rate,
       (SELECT count(*) FROM json_each(u.sequence)) AS sequences, u.loss, u.hash_before, u.hash_after
FROM policy_update u;

CREATE VIEW update_sequences AS
SELECT u.iteration, u.epoch, u.minibatch, s.key AS position, s.key % u.slots AS slot,
       t.id AS trajectory_id
FROM policy_update u JOIN json_each(u.sequence) s JOIN trajectory t ON t.n = s.value;

CREATE VIEW metrics AS
SELECT iteration, name, value, 0 AS observational FROM metric
UNION ALL
SELECT iteration, name, value, 1 FROM observed_metric;

CREATE VIEW curves AS
SELECT iteration,
       max(CASE name WHEN 'reward/mean' THEN value END) AS reward,
       max(CASE name WHEN 'reward/std' THEN value END) AS reward_std,
       max(CASE name WHEN 'accuracy/mean' THEN value END) AS accuracy,
       max(CASE name WHEN 'format/mean' THEN value END) AS format,
       max(CASE name WHEN 'completion/length_mean' THEN value END) AS length,
       max(CASE name WHEN 'completion/truncated_share' THEN value END) AS truncated,
       max(CASE name WHEN 'group/flat_share' THEN value END) AS flat,
       max(CASE name WHEN 'policy/entropy' THEN value END) AS entropy,
       max(CASE name WHEN 'policy/grad_norm' THEN value END) AS grad_norm,
       max(CASE name WHEN 'train/generator_learner_gap' THEN value END) AS generator_learner_gap
FROM metric GROUP BY iteration;

CREATE VIEW evaluations AS
SELECT iteration, version, name, n, k, accuracy, ci_low, ci_high, truncated, outages, skipped,
       median_completion_tokens, waits_per_completion
FROM evaluation;

CREATE VIEW tensors AS
SELECT v.version, n.value AS name, f.value AS fingerprint
FROM version_tensors v JOIN tensor_list l ON l.n = v.list
JOIN json_each(l.names) n JOIN json_each(v.fingerprints) f ON f.key = n.key;
