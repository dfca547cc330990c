// SPDX-License-Identifier: Apache-2.0
#include "services/metrics/registry.h"

#include <algorithm>
#include <cassert>
#include <charconv>
#include <cmath>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "rollout/store/sqlite.h"

namespace hone {
namespace {

void AddTo(std::atomic<double>& value, double amount) {
  double before = value.load(std::memory_order_relaxed);
  while (!value.compare_exchange_weak(before, before + amount, std::memory_order_relaxed)) {
  }
}

bool IsName(const std::string& name) {
  return !name.empty() && !absl::ascii_isdigit(static_cast<unsigned char>(name[0])) &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_';
         });
}

// Shortest text that reads back to the same double.
std::string Number(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  char text[32];
  const std::to_chars_result end = std::to_chars(text, text + sizeof(text), value);
  return std::string(text, end.ptr);
}

// Backslashes and line ends; inside quotes those too. The format is UTF-8: other bytes become '?'.
std::string Escaped(absl::string_view text, bool quoted) {
  const bool plain = IsPlainText(text);
  std::string out;
  for (const char c : text) {
    if (c == '\\') {
      out += "\\\\";
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '"' && quoted) {
      out += "\\\"";
    } else if (!plain && (c == '\0' || static_cast<unsigned char>(c) >= 0x80)) {
      out += '?';
    } else {
      out += c;
    }
  }
  return out;
}

// {a="1",b="2"}, or nothing.
std::string LabelText(const std::vector<std::string>& names, const std::vector<std::string>& values,
                      const std::string& bound = "") {
  std::string out;
  const auto add = [&out](const std::string& name, const std::string& value) {
    absl::StrAppend(&out, out.empty() ? "{" : ",", name, "=\"", Escaped(value, true), "\"");
  };
  for (size_t i = 0; i < names.size(); ++i) add(names[i], values[i]);
  if (!bound.empty()) add("le", bound);
  return out.empty() ? out : out + "}";
}

void WriteHead(const std::string& name, const std::string& help, const char* type,
               std::string* out) {
  absl::StrAppend(out, "# HELP ", name, " ", Escaped(help, false), "\n# TYPE ", name, " ", type,
                  "\n");
}

template <typename Family>
void WriteValues(const std::string& name, const Family& family, std::string* out) {
  for (const auto& [values, metric] : family.All()) {
    absl::StrAppend(out, name, LabelText(family.labels(), values), " ", Number(metric->value()),
                    "\n");
  }
}

void WriteHistograms(const std::string& name, const MetricFamily<Histogram>& family,
                     std::string* out) {
  for (const auto& [values, metric] : family.All()) {
    const Histogram::Snapshot at = metric->snapshot();
    for (size_t i = 0; i < at.cumulative.size(); ++i) {
      const std::string bound = i < at.bounds.size() ? Number(at.bounds[i]) : "+Inf";
      absl::StrAppend(out, name, "_bucket", LabelText(family.labels(), values, bound), " ",
                      at.cumulative[i], "\n");
    }
    const std::string labels = LabelText(family.labels(), values);
    absl::StrAppend(out, name, "_sum", labels, " ", Number(at.sum), "\n");
    absl::StrAppend(out, name, "_count", labels, " ", at.cumulative.back(), "\n");
  }
}

}  // namespace

void Counter::Add(double amount) {
  if (amount > 0) AddTo(value_, amount);
}

void Counter::RaiseTo(double total) {
  double before = value_.load(std::memory_order_relaxed);
  while (total > before &&
         !value_.compare_exchange_weak(before, total, std::memory_order_relaxed)) {
  }
}

void Gauge::Add(double amount) {
  AddTo(value_, amount);
}

Histogram::Histogram(std::vector<double> bounds)
    : bounds_(std::move(bounds)), counts_(bounds_.size() + 1) {
  assert(std::is_sorted(bounds_.begin(), bounds_.end()));
}

void Histogram::Observe(double value, int64_t times) {
  if (std::isnan(value) || times <= 0) return;
  const auto bucket = std::lower_bound(bounds_.begin(), bounds_.end(), value) - bounds_.begin();
  std::lock_guard<std::mutex> lock(mutex_);
  counts_[static_cast<size_t>(bucket)] += times;
  sum_ += value * static_cast<double>(times);
}

Histogram::Snapshot Histogram::snapshot() const {
  std::lock_guard<std::mutex> lock(mutex_);
  Snapshot snapshot{bounds_, counts_, sum_};
  for (size_t i = 1; i < counts_.size(); ++i) snapshot.cumulative[i] += snapshot.cumulative[i - 1];
  return snapshot;
}

std::vector<double> SecondsBuckets() {
  return {1e-4, 5e-4, 1e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
          1,    2.5,  5,    10,   30,   60,    120,  300, 600,  1800};
}

template <typename Metric>
MetricFamily<Metric>::MetricFamily(std::vector<std::string> labels,
                                   std::function<std::unique_ptr<Metric>()> make)
    : labels_(std::move(labels)), make_(std::move(make)) {
  if (labels_.empty()) With({});
}

template <typename Metric>
Metric& MetricFamily<Metric>::With(const std::vector<std::string>& values) {
  assert(values.size() == labels_.size());
  std::lock_guard<std::mutex> lock(mutex_);
  const auto found = series_.find(values);
  if (found != series_.end()) return *found->second;
  const bool full = series_.size() + 1 >= kMaxSeries;
  const std::vector<std::string> key =
      full ? std::vector<std::string>(labels_.size(), "other") : values;
  std::unique_ptr<Metric>& metric = series_[key];
  if (metric == nullptr) metric = make_();
  return *metric;
}

template <typename Metric>
std::vector<std::pair<std::vector<std::string>, const Metric*>> MetricFamily<Metric>::All() const {
  std::lock_guard<std::mutex> lock(mutex_);
  std::vector<std::pair<std::vector<std::string>, const Metric*>> all;
  for (const auto& [values, metric] : series_) all.emplace_back(values, metric.get());
  return all;
}

template class MetricFamily<Counter>;
template class MetricFamily<Gauge>;
template class MetricFamily<Histogram>;

MetricRegistry::Family& MetricRegistry::Find(const std::string& name, const std::string& help,
                                             const std::vector<std::string>& labels) {
  assert(IsName(name) && std::all_of(labels.begin(), labels.end(), IsName));
  Family& family = families_[name];
  if (family.help.empty()) family.help = help;
  return family;
}

MetricFamily<Counter>& MetricRegistry::AddCounter(const std::string& name, const std::string& help,
                                                  const std::vector<std::string>& labels) {
  assert(absl::EndsWith(name, "_total"));
  std::lock_guard<std::mutex> lock(mutex_);
  Family& family = Find(name, help, labels);
  assert(family.gauge == nullptr && family.histogram == nullptr);
  if (family.counter == nullptr) {
    family.counter =
        std::make_unique<MetricFamily<Counter>>(labels, [] { return std::make_unique<Counter>(); });
  }
  assert(family.counter->labels() == labels);
  return *family.counter;
}

MetricFamily<Gauge>& MetricRegistry::AddGauge(const std::string& name, const std::string& help,
                                              const std::vector<std::string>& labels) {
  std::lock_guard<std::mutex> lock(mutex_);
  Family& family = Find(name, help, labels);
  assert(family.counter == nullptr && family.histogram == nullptr);
  if (family.gauge == nullptr) {
    family.gauge =
        std::make_unique<MetricFamily<Gauge>>(labels, [] { return std::make_unique<Gauge>(); });
  }
  assert(family.gauge->labels() == labels);
  return *family.gauge;
}

MetricFamily<Histogram>& MetricRegistry::AddHistogram(const std::string& name,
                                                      const std::string& help,
                                                      const std::vector<double>& bounds,
                                                      const std::vector<std::string>& labels) {
  std::lock_guard<std::mutex> lock(mutex_);
  Family& family = Find(name, help, labels);
  assert(family.counter == nullptr && family.gauge == nullptr);
  if (family.histogram == nullptr) {
    family.histogram = std::make_unique<MetricFamily<Histogram>>(
        labels, [bounds] { return std::make_unique<Histogram>(bounds); });
  }
  assert(family.histogram->labels() == labels);
  return *family.histogram;
}

MetricRegistry::Hook MetricRegistry::BeforeWriting(std::function<void()> look) {
  std::lock_guard<std::mutex> lock(hooks_->mutex);
  const int64_t number = hooks_->next++;
  hooks_->by_number[number] = std::move(look);
  return Hook(nullptr, [hooks = hooks_, number](void*) {
    std::lock_guard<std::mutex> inside(hooks->mutex);
    hooks->by_number.erase(number);
  });
}

std::string MetricRegistry::Write() {
  {
    std::lock_guard<std::mutex> lock(hooks_->mutex);
    for (const auto& [number, look] : hooks_->by_number) look();
  }
  std::lock_guard<std::mutex> lock(mutex_);
  std::string out;
  for (const auto& [name, family] : families_) {
    if (family.counter != nullptr) {
      WriteHead(name, family.help, "counter", &out);
      WriteValues(name, *family.counter, &out);
    } else if (family.gauge != nullptr) {
      WriteHead(name, family.help, "gauge", &out);
      WriteValues(name, *family.gauge, &out);
    } else {
      WriteHead(name, family.help, "histogram", &out);
      WriteHistograms(name, *family.histogram, &out);
    }
  }
  return out;
}

}  // namespace hone
