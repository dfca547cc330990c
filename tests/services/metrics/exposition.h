// SPDX-License-Identifier: Apache-2.0
//
// Prometheus' text format, read by its grammar and nothing more lenient: what is not in it is an
// error with its line.
#ifndef HONE_TESTS_SERVICES_METRICS_EXPOSITION_H_
#define HONE_TESTS_SERVICES_METRICS_EXPOSITION_H_

#include <charconv>
#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "rollout/store/sqlite.h"

namespace hone {

class Exposition {
 public:
  using Labels = std::map<std::string, std::string>;

  static absl::StatusOr<Exposition> Parse(absl::string_view text) {
    Exposition exposition;
    if (text.empty() || text.back() != '\n') return absl::DataLossError("no line end at the end");
    if (!IsPlainText(text)) return absl::DataLossError("not UTF-8");
    while (!text.empty()) {
      const size_t end = text.find('\n');
      const absl::Status line = exposition.Line(text.substr(0, end));
      if (!line.ok()) {
        return absl::DataLossError(absl::StrCat(line.message(), ": ", text.substr(0, end)));
      }
      text.remove_prefix(end + 1);
    }
    for (const auto& [name, type] : exposition.types_) {
      if (type != "histogram") continue;
      const absl::Status whole = exposition.CheckHistogram(name);
      if (!whole.ok()) return whole;
    }
    return exposition;
  }

  // NaN when there is no such series.
  double Value(const std::string& name, const Labels& labels = {}) const {
    const auto found = samples_.find({name, labels});
    return found == samples_.end() ? std::numeric_limits<double>::quiet_NaN() : found->second;
  }
  std::string TypeOf(const std::string& name) const {
    const auto found = types_.find(name);
    return found == types_.end() ? "" : found->second;
  }
  const std::map<std::string, std::string>& helps() const { return helps_; }
  const std::map<std::string, std::string>& types() const { return types_; }

 private:
  static absl::Status Wrong(absl::string_view what) { return absl::DataLossError(what); }

  static bool TakeName(absl::string_view& text, std::string* name) {
    size_t length = 0;
    while (length < text.size() &&
           (std::isalpha(static_cast<unsigned char>(text[length])) || text[length] == '_' ||
            (length > 0 && std::isdigit(static_cast<unsigned char>(text[length]))))) {
      ++length;
    }
    *name = std::string(text.substr(0, length));
    text.remove_prefix(length);
    return length > 0;
  }

  static bool Take(absl::string_view& text, char c) {
    if (text.empty() || text[0] != c) return false;
    text.remove_prefix(1);
    return true;
  }

  absl::Status Line(absl::string_view line) {
    const bool help = absl::StartsWith(line, "# HELP ");
    if (help || absl::StartsWith(line, "# TYPE ")) {
      line.remove_prefix(7);
      std::string name;
      if (!TakeName(line, &name) || !Take(line, ' ')) return Wrong("no name");
      return help ? Help(name, line) : Type(name, line);
    }
    if (absl::StartsWith(line, "#")) return Wrong("a comment that nobody wrote");
    return Sample(line);
  }

  absl::Status Help(const std::string& name, absl::string_view text) {
    if (!helps_.emplace(name, std::string(text)).second) return Wrong("two HELP lines");
    for (size_t i = 0; i < text.size(); ++i) {
      if (text[i] == '\\' && (++i == text.size() || (text[i] != '\\' && text[i] != 'n'))) {
        return Wrong("a bad escape in HELP");
      }
    }
    return text.empty() ? Wrong("an empty HELP") : absl::OkStatus();
  }

  absl::Status Type(const std::string& name, absl::string_view type) {
    if (type != "counter" && type != "gauge" && type != "histogram") return Wrong("no type");
    if (!types_.emplace(name, std::string(type)).second) return Wrong("two TYPE lines");
    if (helps_.count(name) == 0) return Wrong("no HELP before TYPE");
    if ((type == "counter") != absl::EndsWith(name, "_total")) return Wrong("_total misplaced");
    current_ = name;
    return absl::OkStatus();
  }

  absl::Status Label(absl::string_view& line, Labels* labels) {
    std::string name, value;
    if (!TakeName(line, &name) || !Take(line, '=') || !Take(line, '"')) return Wrong("no label");
    while (!Take(line, '"')) {
      if (line.empty()) return Wrong("an open quote");
      char c = line[0];
      line.remove_prefix(1);
      if (c == '\\') {
        if (line.empty()) return Wrong("an open escape");
        c = line[0];
        line.remove_prefix(1);
        if (c == 'n') {
          c = '\n';
        } else if (c != '\\' && c != '"') {
          return Wrong("a bad escape");
        }
      }
      value.push_back(c);
    }
    return labels->emplace(name, value).second ? absl::OkStatus() : Wrong("a label twice");
  }

  static bool ParseNumber(absl::string_view text, double* value) {
    if (text == "NaN" || text == "+Inf" || text == "-Inf") {
      *value = text == "NaN" ? std::nan("") : (text[0] == '+' ? HUGE_VAL : -HUGE_VAL);
      return true;
    }
    const auto read = std::from_chars(text.data(), text.data() + text.size(), *value);
    return read.ec == std::errc() && read.ptr == text.data() + text.size() && std::isfinite(*value);
  }

  absl::Status Sample(absl::string_view line) {
    std::string name;
    Labels labels;
    if (!TakeName(line, &name)) return Wrong("no name");
    if (Take(line, '{')) {
      do {
        const absl::Status status = Label(line, &labels);
        if (!status.ok()) return status;
      } while (Take(line, ','));
      if (!Take(line, '}')) return Wrong("an open brace");
    }
    double value = 0;
    if (!Take(line, ' ') || !ParseNumber(line, &value)) return Wrong("no value");
    const std::string& type = types_[current_];
    bool belongs = name == current_ && type != "histogram";
    if (type == "histogram") {
      belongs =
          name == current_ + "_bucket" || name == current_ + "_sum" || name == current_ + "_count";
      if ((name == current_ + "_bucket") != (labels.count("le") == 1)) return Wrong("le misplaced");
    }
    if (!belongs) return Wrong("a sample outside its family");
    if (type == "counter" && !(value >= 0)) return Wrong("a counter below zero");
    order_.push_back({name, labels});
    return samples_.emplace(order_.back(), value).second ? absl::OkStatus() : Wrong("twice");
  }

  // Buckets ascend in le and value, end with +Inf, and agree with _count; there is a _sum.
  absl::Status CheckHistogram(const std::string& name) const {
    std::map<Labels, std::pair<double, double>> last;  // le and value
    for (const auto& [sample, labels] : order_) {
      if (sample != name + "_bucket") continue;
      Labels rest = labels;
      double le = 0;
      if (!ParseNumber(rest["le"], &le)) return Wrong("le is no number");
      rest.erase("le");
      const double value = samples_.at({sample, labels});
      const auto found = last.find(rest);
      if (found != last.end() && (le <= found->second.first || value < found->second.second)) {
        return Wrong(absl::StrCat("buckets of ", name, " do not ascend"));
      }
      last[rest] = {le, value};
    }
    for (const auto& [labels, end] : last) {
      const bool whole = std::isinf(end.first) && Value(name + "_count", labels) == end.second &&
                         !std::isnan(Value(name + "_sum", labels));
      if (!whole) return Wrong(absl::StrCat(name, " is not whole"));
    }
    return absl::OkStatus();
  }

  std::map<std::string, std::string> helps_, types_;
  std::map<std::pair<std::string, Labels>, double> samples_;
  std::vector<std::pair<std::string, Labels>> order_;
  std::string current_;
};

}  // namespace hone

#endif  // HONE_TESTS_SERVICES_METRICS_EXPOSITION_H_
