// SPDX-License-Identifier: Apache-2.0
//
// Opening, closing, and the small tables: run, attempt, event.
#include "rollout/store/store.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "rollout/store/schema.h"
#include "rollout/store/state.h"

namespace hone {
namespace {

constexpr int64_t kFlushTexts = 256;
constexpr int64_t kFlushBytes = 1 << 20;
constexpr size_t kMaxRecent = 1 << 18;

bool FileExists(const std::string& path) {
  struct stat info;
  return stat(path.c_str(), &info) == 0;
}

int64_t FileBytes(const std::string& path) {
  struct stat info;
  return stat(path.c_str(), &info) == 0 ? info.st_size : 0;
}

void RemoveWithJournals(const std::string& path) {
  for (const char* suffix : {"", "-wal", "-shm"}) unlink((path + suffix).c_str());
}

// Makes a file or folder durable. REQUIRES: no connection of this process has the file open
// (closing a descriptor drops SQLite's locks).
absl::Status SyncFile(const std::string& path) {
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file >= 0 && fsync(file) == 0 && close(file) == 0) return absl::OkStatus();
  const int error = errno;
  if (file >= 0) close(file);
  return absl::ErrnoToStatus(error, absl::StrCat("store ", path, " cannot be made durable"));
}

std::string FolderOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

// file:PATH?PARAMETER with the characters that mean something in a URI escaped.
std::string FileUri(const std::string& path, const std::string& parameter) {
  std::string uri = "file:";
  for (const char c : path) {
    if (c == '%' || c == '?' || c == '#') {
      absl::StrAppend(&uri, "%", absl::Hex(static_cast<uint8_t>(c), absl::kZeroPad2));
    } else {
      uri.push_back(c);
    }
  }
  return uri + "?" + parameter;
}

absl::Status CheckHeader(SqliteDb& db) {
  const absl::StatusOr<int64_t> application = db.Value("PRAGMA application_id");
  if (!application.ok()) return application.status();
  const absl::StatusOr<int64_t> version = db.Value("PRAGMA user_version");
  if (!version.ok()) return version.status();
  if (*application != kStoreApplicationId || *version < 1) {
    return absl::DataLossError(absl::StrCat(db.path(),
                                            " is an SQLite file but no Hone store (application_id ",
                                            *application, "). Name the run's store.sqlite."));
  }
  if (*version > kStoreSchemaVersion) {
    return absl::FailedPreconditionError(
        absl::StrCat("store ", db.path(), " has schema version ", *version,
                     ", this program knows versions up to ", kStoreSchemaVersion,
                     ": use the newer program that wrote it."));
  }
  const absl::StatusOr<int64_t> page_bytes = db.Value("PRAGMA page_size");
  if (!page_bytes.ok()) return page_bytes.status();
  // Where a log is left, its recovery decides about the last page.
  if (FileBytes(db.path()) % *page_bytes != 0 && FileBytes(db.path() + "-wal") == 0) {
    return absl::DataLossError(absl::StrCat("store ", db.path(),
                                            " ends inside a page: it was cut off. Restore it from "
                                            "a copy, or read what is left with sqlite3 FILE "
                                            ".recover"));
  }
  return absl::OkStatus();
}

// Names that we read are to be what we made: a view in a table's place could compute for ever.
absl::Status CheckObjects(SqliteDb& db) {
  Statement row = db.Prepare("SELECT type, name, sql FROM sqlite_master WHERE type <> 'index'");
  while (true) {
    const absl::StatusOr<bool> more = row.Next();
    if (!more.ok()) return more.status();
    if (!*more) return absl::OkStatus();
    const std::string name = row.String(1);
    const bool ours = absl::StrContains(kStoreSchemaSql, absl::StrCat(" TABLE ", name, " "));
    const bool our_view = absl::StrContains(kStoreSchemaSql, absl::StrCat(" VIEW ", name, " AS"));
    const absl::string_view type = row.Bytes(0);
    if (type == "table" && !our_view) continue;
    if (type == "view" && !ours &&
        (!our_view || absl::StrContains(kStoreSchemaSql, row.Bytes(2)))) {
      continue;  // ours as we wrote it, or somebody's own, which nobody reads
    }
    return absl::DataLossError(absl::StrCat("store ", db.path(), ": its ", type, " '", name,
                                            "' is not one that this program made. Restore the "
                                            "store from a copy."));
  }
}

absl::Status Configure(SqliteDb& db, bool writable) {
  // Debian builds SQLite with secure_delete: zeroing what FTS5 merges away costs a tenth.
  std::string sql =
      "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA temp_store = MEMORY;"
      "PRAGMA cache_size = -16384;";
  if (writable) {
    sql +=
        "PRAGMA synchronous = NORMAL; PRAGMA secure_delete = OFF;"
        "PRAGMA wal_autocheckpoint = 16000; PRAGMA journal_size_limit = 67108864;";
  } else {
    sql += "PRAGMA query_only = ON;";
  }
  return db.Exec(sql);
}

// A new database with the tables. Nobody sees it before it is whole: fsync is left to the caller.
absl::StatusOr<std::unique_ptr<SqliteDb>> OpenEmpty(const std::string& target,
                                                    const std::string& path) {
  absl::StatusOr<std::unique_ptr<SqliteDb>> db =
      SqliteDb::Open(target, path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI);
  if (!db.ok()) return db;
  const absl::Status status =
      (*db)->Exec(absl::StrCat("PRAGMA synchronous = OFF; PRAGMA journal_mode = WAL; BEGIN;",
                               kStoreSchemaSql, "PRAGMA application_id = ", kStoreApplicationId,
                               "; PRAGMA user_version = ", kStoreSchemaVersion, "; COMMIT;"));
  if (!status.ok()) return status;
  return db;
}

// The tables, in a file of another name that becomes `path` when it is whole.
absl::Status CreateFile(const std::string& path) {
  if (FileExists(path)) {
    return absl::AlreadyExistsError(
        absl::StrCat("store ", path, " exists already: resume the run, or name another folder."));
  }
  const std::string temporary = absl::StrCat(path, ".tmp-", getpid());
  RemoveWithJournals(temporary);
  absl::Status status = OpenEmpty(temporary, path).status();
  if (status.ok()) status = SyncFile(temporary);
  if (status.ok() &&
      renameat2(AT_FDCWD, temporary.c_str(), AT_FDCWD, path.c_str(), RENAME_NOREPLACE) != 0 &&
      (errno != EINVAL || rename(temporary.c_str(), path.c_str()) != 0)) {
    status = errno == EEXIST
                 ? absl::AlreadyExistsError(absl::StrCat("store ", path, " exists already."))
                 : absl::UnavailableError(
                       absl::StrCat("store ", path, " cannot be named: ", std::strerror(errno)));
  }
  if (!status.ok()) {
    RemoveWithJournals(temporary);
    return status;
  }
  return SyncFile(FolderOf(path));
}

// The store at `old_uri` in today's form: in a file of its own, or (target empty) in a private
// database that goes away with its connection.
absl::StatusOr<std::unique_ptr<SqliteDb>> Migrate(const std::string& old_uri,
                                                  const std::string& target,
                                                  const std::string& path) {
  absl::StatusOr<std::unique_ptr<SqliteDb>> db = OpenEmpty(target, path);
  if (!db.ok()) return db;
  Store::State state;
  state.path = path;
  state.schema_version = kStoreSchemaVersion;
  state.db = *std::move(db);
  const absl::Status status = CopyFromVersion1(state, old_uri);
  if (!status.ok()) return status;
  return std::move(state.db);
}

// Puts a store of today's form in the place of an older one, which is whole until then.
absl::Status MigrateFile(const std::string& path) {
  {
    absl::StatusOr<std::unique_ptr<SqliteDb>> old =
        SqliteDb::Open(path, path, SQLITE_OPEN_READWRITE);
    if (!old.ok()) return old.status();
    // A log that stayed behind would be taken for the new file's. Refused while others read.
    const absl::Status status = (*old)->Exec("PRAGMA journal_mode = DELETE");
    if (!status.ok()) return status;
  }
  const std::string temporary = absl::StrCat(path, ".tmp-", getpid());
  RemoveWithJournals(temporary);
  absl::Status status = Migrate(FileUri(path, "mode=ro"), temporary, path).status();
  if (status.ok()) status = SyncFile(temporary);
  if (status.ok() && rename(temporary.c_str(), path.c_str()) != 0) {
    status = absl::UnavailableError(
        absl::StrCat("store ", path, " cannot be replaced: ", std::strerror(errno)));
  }
  if (!status.ok()) {
    RemoveWithJournals(temporary);
    return status;
  }
  return SyncFile(FolderOf(path));
}

absl::StatusOr<std::unique_ptr<SqliteDb>> Connect(const std::string& path, bool writable) {
  if (!FileExists(path)) {
    return absl::NotFoundError(absl::StrCat("there is no store at ", path));
  }
  std::string uri = FileUri(path, "mode=ro");
  absl::StatusOr<std::unique_ptr<SqliteDb>> db =
      SqliteDb::Open(path, path, writable ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY);
  if (!db.ok()) return db;
  absl::Status status = CheckHeader(**db);
  if (!writable && absl::IsPermissionDenied(status)) {
    // A folder that may not be written has no place for WAL's shared memory.
    if (FileBytes(path + "-wal") > 0) {
      return absl::FailedPreconditionError(
          absl::StrCat("store ", path,
                       " has a write-ahead log and its folder may not be written: open it once "
                       "where it may, or copy both files."));
    }
    uri = FileUri(path, "immutable=1");
    db = SqliteDb::Open(uri, path, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI);
    if (!db.ok()) return db;
    status = CheckHeader(**db);
  }
  if (!status.ok()) return status;
  const absl::StatusOr<int64_t> version = (*db)->Value("PRAGMA user_version");
  if (!version.ok()) return version.status();
  if (*version == 2 && writable) {
    status = UpgradeFromVersion2(**db);
    if (!status.ok()) return status;
  } else if (*version == 1) {
    db->reset();
    if (writable) {
      status = MigrateFile(path);
      if (!status.ok()) return status;
      db = SqliteDb::Open(path, path, SQLITE_OPEN_READWRITE);
    } else {
      db = Migrate(uri, "", path);
    }
    if (!db.ok()) return db;
  }
  status = Configure(**db, writable);
  if (status.ok()) status = CheckObjects(**db);
  if (!status.ok()) return status;
  return db;
}

}  // namespace

absl::Status Store::State::CheckWritable() const {
  if (mode == Mode::kReadOnly) {
    return absl::FailedPreconditionError(
        absl::StrCat("store ", path, " was opened to be read and takes no records"));
  }
  // SQLite would go on into a file that nobody can open any more.
  int moved = 0;
  sqlite3_file_control(db->handle(), "main", SQLITE_FCNTL_HAS_MOVED, &moved);
  if (moved == 0) return absl::OkStatus();
  return absl::DataLossError(
      absl::StrCat("store ", path,
                   " was removed or replaced while the run was writing to it: what it held is "
                   "lost; the checkpoints are not, and `hone eval --model` reads them"));
}

void Store::State::ForgetRows() {
  setups.clear();
  verifiers.clear();
  channel_kinds.clear();
  part_lists.clear();
  tensor_lists.clear();
  recent.clear();
}

absl::Status Store::State::FlushIndex() {
  absl::Status status = db->Prepare(
                              "INSERT INTO text_index (rowid, text) SELECT n, text FROM segment "
                              "WHERE n > (SELECT indexed FROM text_index_state)")
                            .Run();
  if (!status.ok()) return status;
  status =
      db->Prepare("UPDATE text_index_state SET indexed = (SELECT coalesce(max(n), 0) FROM segment)")
          .Run();
  if (!status.ok()) return status;
  unindexed_texts = 0;
  unindexed_bytes = 0;
  return absl::OkStatus();
}

Store::Store(std::unique_ptr<State> state) : state_(std::move(state)) {}

Store::~Store() {
  if (state_->mode == Mode::kReadOnly || state_->unindexed_texts == 0) return;
  Transaction transaction(*state_->db);
  // What fails here is made up for by the next writer.
  if (transaction.Begin().ok() && state_->FlushIndex().ok()) {
    const absl::Status status = transaction.Commit();
    (void)status;
  }
}

absl::StatusOr<std::unique_ptr<Store>> Store::Open(const std::string& path, Mode mode) {
  if (mode == Mode::kCreate) {
    const absl::Status status = CreateFile(path);
    if (!status.ok()) return status;
  }
  absl::StatusOr<std::unique_ptr<SqliteDb>> db = Connect(path, mode != Mode::kReadOnly);
  if (!db.ok()) return db.status();
  auto state = std::make_unique<State>();
  state->path = path;
  state->mode = mode;
  state->db = *std::move(db);
  const absl::StatusOr<int64_t> version = state->db->Value("PRAGMA user_version");
  if (!version.ok()) return version.status();
  state->schema_version = *version;
  const absl::StatusOr<int64_t> behind = state->db->Value(
      "SELECT count(*) FROM segment WHERE n > (SELECT indexed FROM text_index_state)");
  if (!behind.ok()) return behind.status();
  state->unindexed_texts = *behind;
  return std::unique_ptr<Store>(new Store(std::move(state)));
}

absl::Status Store::PutRun(const RunRecord& run) {
  std::lock_guard<std::mutex> lock(state_->mutex);
  absl::Status status = state_->CheckWritable();
  if (!status.ok()) return status;
  if (!IsPlainText(run.id) || !IsPlainText(run.parent_run) || !IsPlainText(run.config_hash)) {
    return absl::InvalidArgumentError("run: id, parent_run and config_hash are to be plain text");
  }
  SqliteDb& db = *state_->db;
  Statement old = db.Prepare("SELECT id, parent_run, fork_version, config_hash FROM run");
  const absl::StatusOr<bool> row = old.Next();
  if (!row.ok()) return row.status();
  if (*row) {
    if (old.Bytes(0) == run.id && old.Bytes(1) == run.parent_run &&
        old.GetInt(2) == run.fork_version && old.Bytes(3) == run.config_hash) {
      return absl::OkStatus();
    }
    return absl::FailedPreconditionError(
        absl::StrCat("store ", state_->path, " holds run ", old.Bytes(0), " (config hash ",
                     old.Bytes(3), "), not run ", run.id, " (config hash ", run.config_hash,
                     "): give this run a folder of its own."));
  }
  return db.Prepare("INSERT INTO run VALUES (1, ?, ?, ?, ?, ?, ?, ?)")
      .Text(run.id)
      .Text(run.parent_run)
      .Int(run.fork_version)
      .Any(run.name)
      .Any(run.config)
      .Text(run.config_hash)
      .Any(run.code_version)
      .Run();
}

absl::StatusOr<RunRecord> Store::GetRun() {
  std::lock_guard<std::mutex> lock(state_->mutex);
  Statement row = state_->db->Prepare(
      "SELECT id, parent_run, fork_version, name, config, config_hash, code_version FROM run");
  const absl::StatusOr<bool> found = row.Next();
  if (!found.ok()) return found.status();
  if (!*found) {
    return absl::NotFoundError(absl::StrCat("store ", state_->path, " holds no run yet"));
  }
  RunRecord run;
  run.id = row.String(0);
  run.parent_run = row.String(1);
  run.fork_version = row.GetInt(2);
  run.name = row.String(3);
  run.config = row.String(4);
  run.config_hash = row.String(5);
  run.code_version = row.String(6);
  return run;
}

absl::StatusOr<int64_t> Store::BeginAttempt(const AttemptRecord& attempt) {
  std::lock_guard<std::mutex> lock(state_->mutex);
  absl::Status status = state_->CheckWritable();
  if (!status.ok()) return status;
  status = state_->db
               ->Prepare(
                   "INSERT INTO attempt (started, end_reason, host, pid, environment) "
                   "VALUES (?, ?, ?, ?, ?)")
               .Int(absl::ToUnixMicros(attempt.started))
               .Any("")
               .Any(attempt.host)
               .Int(attempt.pid)
               .Any(attempt.environment_json)
               .Run();
  if (!status.ok()) return status;
  return state_->db->last_insert_row();
}

absl::Status Store::EndAttempt(int64_t n, absl::Time ended, const std::string& reason) {
  std::lock_guard<std::mutex> lock(state_->mutex);
  absl::Status status = state_->CheckWritable();
  if (!status.ok()) return status;
  status = state_->db->Prepare("UPDATE attempt SET ended = ?, end_reason = ? WHERE n = ?")
               .Int(absl::ToUnixMicros(ended))
               .Any(reason)
               .Int(n)
               .Run();
  if (!status.ok()) return status;
  if (state_->db->changed_rows() == 0) {
    return absl::NotFoundError(absl::StrCat("store ", state_->path, " has no attempt ", n));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<AttemptRecord>> Store::Attempts() {
  std::lock_guard<std::mutex> lock(state_->mutex);
  Statement row = state_->db->Prepare(
      "SELECT n, started, ended, end_reason, host, pid, environment FROM attempt ORDER BY n");
  std::vector<AttemptRecord> attempts;
  while (true) {
    const absl::StatusOr<bool> more = row.Next();
    if (!more.ok()) return more.status();
    if (!*more) return attempts;
    AttemptRecord& attempt = attempts.emplace_back();
    attempt.n = row.GetInt(0);
    attempt.started = absl::FromUnixMicros(row.GetInt(1));
    if (!row.IsNull(2)) attempt.ended = absl::FromUnixMicros(row.GetInt(2));
    attempt.end_reason = row.String(3);
    attempt.host = row.String(4);
    attempt.pid = row.GetInt(5);
    attempt.environment_json = row.String(6);
  }
}

absl::Status Store::PutGroup(const Group& group) {
  return PutGroups(absl::MakeConstSpan(&group, 1));
}

absl::Status Store::PutGroups(absl::Span<const Group> groups) {
  std::lock_guard<std::mutex> lock(state_->mutex);
  WriteTimer timer(&state_->write_time);
  absl::Status status = state_->CheckWritable();
  if (!status.ok()) return status;
  Transaction transaction(*state_->db);
  status = transaction.Begin();
  if (!status.ok()) return status;
  for (const Group& group : groups) {
    if (status.ok()) status = WriteGroup(*state_, group);
  }
  if (status.ok() &&
      (state_->unindexed_texts >= kFlushTexts || state_->unindexed_bytes >= kFlushBytes)) {
    status = state_->FlushIndex();
  }
  if (status.ok()) status = transaction.Commit();
  if (!status.ok()) state_->ForgetRows();
  // Where iterations are never recorded nobody asks for these.
  if (state_->recent.size() > kMaxRecent) state_->recent.clear();
  return status;
}

absl::Status Store::PutEvent(int64_t iteration, const std::string& kind, const std::string& text) {
  std::lock_guard<std::mutex> lock(state_->mutex);
  absl::Status status = state_->CheckWritable();
  if (!status.ok()) return status;
  return state_->db->Prepare("INSERT INTO event (at, iteration, kind, text) VALUES (?, ?, ?, ?)")
      .Int(absl::ToUnixMicros(absl::Now()))
      .Int(iteration)
      .Any(kind)
      .Any(text)
      .Run();
}

absl::Status Store::Verify() {
  std::lock_guard<std::mutex> lock(state_->mutex);
  SqliteDb& db = *state_->db;
  {
    Statement check = db.Prepare("PRAGMA integrity_check(1)");
    const absl::StatusOr<bool> row = check.Next();
    if (!row.ok()) return row.status();
    if (!*row || check.Bytes(0) != "ok") {
      return absl::DataLossError(absl::StrCat("store ", state_->path, ": ", check.Bytes(0)));
    }
  }
  {
    Statement check = db.Prepare("PRAGMA foreign_key_check");
    const absl::StatusOr<bool> row = check.Next();
    if (!row.ok()) return row.status();
    if (*row) {
      return absl::DataLossError(absl::StrCat("store ", state_->path, ": a row of ", check.Bytes(0),
                                              " names a row of ", check.Bytes(2),
                                              " that is not there"));
    }
  }
  return VerifyDigests(*state_);
}

StoreStats Store::stats() const {
  std::lock_guard<std::mutex> lock(state_->mutex);
  StoreStats stats;
  stats.groups = state_->db->Value("SELECT count(*) FROM task_group").value_or(0);
  stats.trajectories = state_->db->Value("SELECT count(*) FROM trajectory").value_or(0);
  stats.updates = state_->db->Value("SELECT count(*) FROM policy_update").value_or(0);
  stats.bytes = FileBytes(state_->path) + FileBytes(state_->path + "-wal");
  stats.write_seconds = state_->write_time.wall_seconds;
  stats.write_cpu_seconds = state_->write_time.cpu_seconds;
  return stats;
}

}  // namespace hone
