// SPDX-License-Identifier: Apache-2.0
#include "rollout/store/sqlite.h"

#include <sqlite3.h>

#include <cassert>
#include <cerrno>
#include <cstring>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"

namespace hone {
namespace {

// Length of the valid UTF-8 sequence at `at`, 0 if there is none (Unicode 15, table 3-7).
size_t SequenceLength(const uint8_t* at, size_t left) {
  const uint8_t first = at[0];
  size_t length = 0;
  uint8_t low = 0x80, high = 0xbf;  // bounds of the second byte
  if (first < 0x80) return first == 0 ? 0 : 1;
  if (first >= 0xc2 && first <= 0xdf) {
    length = 2;
  } else if (first >= 0xe0 && first <= 0xef) {
    length = 3;
    if (first == 0xe0) low = 0xa0;
    if (first == 0xed) high = 0x9f;
  } else if (first >= 0xf0 && first <= 0xf4) {
    length = 4;
    if (first == 0xf0) low = 0x90;
    if (first == 0xf4) high = 0x8f;
  } else {
    return 0;
  }
  if (left < length || at[1] < low || at[1] > high) return 0;
  for (size_t i = 2; i < length; ++i) {
    if ((at[i] & 0xc0) != 0x80) return 0;
  }
  return length;
}

}  // namespace

bool IsPlainText(absl::string_view bytes) {
  const uint8_t* data = reinterpret_cast<const uint8_t*>(bytes.data());
  size_t at = 0;
  while (at < bytes.size()) {
    if (bytes.size() - at >= 8) {  // eight ASCII bytes, none of them zero
      uint64_t word;
      std::memcpy(&word, data + at, 8);
      constexpr uint64_t kHigh = 0x8080808080808080u, kLow = 0x0101010101010101u;
      if ((word & kHigh) == 0 && ((word - kLow) & ~word & kHigh) == 0) {
        at += 8;
        continue;
      }
    }
    const size_t length = SequenceLength(data + at, bytes.size() - at);
    if (length == 0) return false;
    at += length;
  }
  return true;
}

Statement::Statement(SqliteDb* db, sqlite3_stmt* statement, absl::Status error)
    : db_(db), statement_(statement), error_(std::move(error)) {}

Statement::Statement(Statement&& other) noexcept
    : db_(other.db_),
      statement_(std::exchange(other.statement_, nullptr)),
      bound_(other.bound_),
      error_(std::move(other.error_)) {}

Statement::~Statement() {
  Rewind();
}

void Statement::Rewind() {
  if (statement_ == nullptr) return;
  sqlite3_reset(statement_);
  bound_ = 0;
}

void Statement::Check(int code) {
  if (code != SQLITE_OK && error_.ok()) error_ = db_->Error(code);
}

Statement& Statement::Int(int64_t value) {
  Check(sqlite3_bind_int64(statement_, ++bound_, value));
  return *this;
}

Statement& Statement::Real(double value) {
  Check(sqlite3_bind_double(statement_, ++bound_, value));
  return *this;
}

Statement& Statement::Text(absl::string_view value) {
  const char* data = value.data() == nullptr ? "" : value.data();
  Check(sqlite3_bind_text64(statement_, ++bound_, data, value.size(), SQLITE_STATIC, SQLITE_UTF8));
  return *this;
}

Statement& Statement::Any(absl::string_view value) {
  return IsPlainText(value) ? Text(value) : Blob(value);
}

Statement& Statement::Blob(absl::string_view value) {
  const char* data = value.data() == nullptr ? "" : value.data();
  Check(sqlite3_bind_blob64(statement_, ++bound_, data, value.size(), SQLITE_STATIC));
  return *this;
}

Statement& Statement::Null() {
  Check(sqlite3_bind_null(statement_, ++bound_));
  return *this;
}

absl::StatusOr<bool> Statement::Next() {
  if (!error_.ok()) return error_;
  const int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  error_ = db_->Error(code);
  return error_;
}

absl::Status Statement::Run() {
  while (true) {
    const absl::StatusOr<bool> row = Next();
    if (!row.ok()) return row.status();
    if (!*row) break;
  }
  Rewind();
  return absl::OkStatus();
}

int64_t Statement::GetInt(int column) const {
  return sqlite3_column_int64(statement_, column);
}

double Statement::GetReal(int column) const {
  if (IsNull(column)) return std::numeric_limits<double>::quiet_NaN();
  return sqlite3_column_double(statement_, column);
}

bool Statement::IsNull(int column) const {
  return sqlite3_column_type(statement_, column) == SQLITE_NULL;
}

bool Statement::IsText(int column) const {
  return sqlite3_column_type(statement_, column) == SQLITE_TEXT;
}

bool Statement::IsInt(int column) const {
  return sqlite3_column_type(statement_, column) == SQLITE_INTEGER;
}

bool Statement::IsReal(int column) const {
  return sqlite3_column_type(statement_, column) == SQLITE_FLOAT;
}

int Statement::columns() const {
  return sqlite3_column_count(statement_);
}

absl::string_view Statement::Bytes(int column) const {
  const void* data = sqlite3_column_blob(statement_, column);
  const int bytes = sqlite3_column_bytes(statement_, column);
  if (data == nullptr || bytes <= 0) return "";
  return absl::string_view(static_cast<const char*>(data), static_cast<size_t>(bytes));
}

absl::StatusOr<std::unique_ptr<SqliteDb>> SqliteDb::Open(const std::string& target,
                                                         const std::string& path, int flags) {
  // Before the first connection of the process: allocations need no shared counters.
  static const int configured = sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
  (void)configured;  // a refusal (SQLite was started by somebody else) costs time only
  sqlite3* handle = nullptr;
  const int code = sqlite3_open_v2(target.c_str(), &handle, flags | SQLITE_OPEN_NOMUTEX, nullptr);
  std::unique_ptr<SqliteDb> db(new SqliteDb(handle, path));
  if (handle == nullptr) return absl::ResourceExhaustedError("out of memory opening the store");
  if (code != SQLITE_OK) return db->Error(code);
  sqlite3_extended_result_codes(handle, 1);
  sqlite3_db_config(handle, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_busy_timeout(handle, 20000);
  return db;
}

SqliteDb::~SqliteDb() {
  ForgetStatements();
  sqlite3_close(handle_);
}

void SqliteDb::ForgetStatements() {
  for (auto& [sql, statement] : prepared_) sqlite3_finalize(statement);
  prepared_.clear();
}

Statement SqliteDb::Prepare(absl::string_view sql) {
  const auto found = prepared_.find(sql);
  if (found != prepared_.end()) {
    assert(!sqlite3_stmt_busy(found->second));
    return Statement(this, found->second, absl::OkStatus());
  }
  sqlite3_stmt* statement = nullptr;
  const int code = sqlite3_prepare_v3(handle_, sql.data(), static_cast<int>(sql.size()),
                                      SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
  if (code != SQLITE_OK) return Statement(this, nullptr, Error(code));
  prepared_.emplace(std::string(sql), statement);
  return Statement(this, statement, absl::OkStatus());
}

absl::Status SqliteDb::Exec(const std::string& sql) {
  const int code = sqlite3_exec(handle_, sql.c_str(), nullptr, nullptr, nullptr);
  return code == SQLITE_OK ? absl::OkStatus() : Error(code);
}

absl::StatusOr<int64_t> SqliteDb::Value(const std::string& sql) {
  Statement statement = Prepare(sql);
  const absl::StatusOr<bool> row = statement.Next();
  if (!row.ok()) return row.status();
  return *row ? statement.GetInt(0) : 0;
}

int64_t SqliteDb::last_insert_row() const {
  return sqlite3_last_insert_rowid(handle_);
}
int64_t SqliteDb::changed_rows() const {
  return sqlite3_changes64(handle_);
}
bool SqliteDb::in_transaction() const {
  return sqlite3_get_autocommit(handle_) == 0;
}

absl::Status SqliteDb::Error(int code) const {
  const int os_error = sqlite3_system_errno(handle_);
  const std::string what = absl::StrCat("store ", path_, ": ", sqlite3_errmsg(handle_), " (SQLite ",
                                        sqlite3_extended_errcode(handle_), ")");
  const bool no_space = os_error == ENOSPC || os_error == EDQUOT || os_error == EFBIG;
  switch (code & 0xff) {
    case SQLITE_FULL:
      return absl::ResourceExhaustedError(absl::StrCat(
          what, ". Nothing was half written: free disk space there, then resume the run."));
    case SQLITE_IOERR:
      if (no_space) {
        return absl::ResourceExhaustedError(absl::StrCat(
            what, ". Nothing was half written: free disk space there, then resume the run."));
      }
      return absl::UnavailableError(
          absl::StrCat(what, ": ", std::strerror(os_error), ". Check the disk it is on."));
    case SQLITE_NOMEM:
      return absl::ResourceExhaustedError(absl::StrCat(what, ". The process is out of memory."));
    case SQLITE_TOOBIG:
      return absl::InvalidArgumentError(absl::StrCat(what, ". One value may hold 1 GB at most."));
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return absl::DataLossError(absl::StrCat(
          what,
          ". The file is damaged or no store: restore it from a copy, or read what is left "
          "with sqlite3 FILE .recover"));
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return absl::UnavailableError(
          absl::StrCat(what, ". Another process is writing to it: a run has one writer."));
    case SQLITE_CANTOPEN:
      return absl::PermissionDeniedError(
          absl::StrCat(what, ". Check that the file and its folder may be read and written."));
    case SQLITE_READONLY:
    case SQLITE_PERM:
      return absl::PermissionDeniedError(absl::StrCat(what, ". The store may not be written."));
    case SQLITE_CONSTRAINT:
      return absl::InvalidArgumentError(what);
    case SQLITE_INTERRUPT:
      return absl::CancelledError(what);
    default:
      return absl::InternalError(what);
  }
}

Transaction::~Transaction() {
  if (open_ && db_.in_transaction()) {
    // A failed rollback leaves nothing to do: the journal is discarded by the next opening.
    const absl::Status status = db_.Exec("ROLLBACK");
    (void)status;
  }
}

absl::Status Transaction::Begin() {
  const absl::Status status = db_.Prepare("BEGIN IMMEDIATE").Run();
  open_ = status.ok();
  return status;
}

absl::Status Transaction::BeginRead() {
  const absl::Status status = db_.Prepare("BEGIN").Run();
  open_ = status.ok();
  return status;
}

absl::Status Transaction::Commit() {
  const absl::Status status = db_.Prepare("COMMIT").Run();
  if (status.ok()) open_ = false;
  return status;
}

}  // namespace hone
