// SPDX-License-Identifier: Apache-2.0
//
// SQLite's C interface with owners and Status. Not thread-safe: one connection, one thread at a
// time (Store takes turns).
#ifndef HONE_ROLLOUT_STORE_SQLITE_H_
#define HONE_ROLLOUT_STORE_SQLITE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

struct sqlite3;
struct sqlite3_stmt;

namespace hone {

// True when the bytes are valid UTF-8 without NUL: what may be stored as TEXT.
bool IsPlainText(absl::string_view bytes);

class SqliteDb;

// A prepared statement, borrowed from its connection and given back (reset) when it goes away.
// Parameters are bound in order, columns read by index. Bound bytes must outlive the statement.
// An error of preparing or binding is reported by Run or Next.
class Statement {
 public:
  Statement(Statement&& other) noexcept;
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;
  ~Statement();

  Statement& Int(int64_t value);
  Statement& Real(double value);             // NaN becomes NULL
  Statement& Text(absl::string_view value);  // REQUIRES: IsPlainText
  Statement& Any(absl::string_view value);   // TEXT if IsPlainText, else BLOB
  Statement& Blob(absl::string_view value);
  Statement& Null();

  absl::Status Run();           // to the end; rows are ignored
  absl::StatusOr<bool> Next();  // false: no more rows
  void Rewind();                // parameters are forgotten as well

  int64_t GetInt(int column) const;
  double GetReal(int column) const;  // NULL reads as NaN
  bool IsNull(int column) const;
  bool IsText(int column) const;
  bool IsInt(int column) const;
  bool IsReal(int column) const;
  int columns() const;
  absl::string_view Bytes(int column) const;  // of TEXT or BLOB; valid until the next step
  std::string String(int column) const { return std::string(Bytes(column)); }

 private:
  friend class SqliteDb;
  Statement(SqliteDb* db, sqlite3_stmt* statement, absl::Status error);
  void Check(int code);

  SqliteDb* db_;
  sqlite3_stmt* statement_;
  int bound_ = 0;
  absl::Status error_;
};

class SqliteDb {
 public:
  // flags: SQLITE_OPEN_*. With SQLITE_OPEN_URI `target` is a file: URI; `path` is for messages.
  static absl::StatusOr<std::unique_ptr<SqliteDb>> Open(const std::string& target,
                                                        const std::string& path, int flags);
  ~SqliteDb();
  SqliteDb(const SqliteDb&) = delete;
  SqliteDb& operator=(const SqliteDb&) = delete;

  // Prepared once per text. One at a time: a statement in use may not be prepared again.
  Statement Prepare(absl::string_view sql);
  absl::Status Exec(const std::string& sql);              // any number of statements
  absl::StatusOr<int64_t> Value(const std::string& sql);  // one integer
  void ForgetStatements();                                // REQUIRES: none is in use

  int64_t last_insert_row() const;
  int64_t changed_rows() const;
  bool in_transaction() const;
  const std::string& path() const { return path_; }
  sqlite3* handle() { return handle_; }

  // A sentence for the last error: what happened, where, what to do.
  absl::Status Error(int code) const;

 private:
  SqliteDb(sqlite3* handle, std::string path) : handle_(handle), path_(std::move(path)) {}

  sqlite3* handle_;
  std::string path_;
  absl::flat_hash_map<std::string, sqlite3_stmt*> prepared_;
};

// Calls use(row) for each row that is left. A status that it returns ends the walk unless OK.
template <typename Use>
absl::Status ForEachRow(Statement& row, const Use& use) {
  while (true) {
    const absl::StatusOr<bool> more = row.Next();
    if (!more.ok()) return more.status();
    if (!*more) return absl::OkStatus();
    if constexpr (std::is_void_v<std::invoke_result_t<Use, const Statement&>>) {
      use(row);
    } else {
      const absl::Status status = use(row);
      if (!status.ok()) return status;
    }
  }
}

// Rolled back unless committed.
class Transaction {
 public:
  explicit Transaction(SqliteDb& db) : db_(db) {}
  ~Transaction();
  absl::Status Begin();      // to write
  absl::Status BeginRead();  // one snapshot for several statements
  absl::Status Commit();

 private:
  SqliteDb& db_;
  bool open_ = false;
};

}  // namespace hone

#endif  // HONE_ROLLOUT_STORE_SQLITE_H_
