// SPDX-License-Identifier: Apache-2.0
//
// Counters, gauges and histograms of this process, and the text in which Prometheus reads them
// (exposition format 0.0.4). Names follow its conventions: base units, counters end in _total.
#ifndef HONE_SERVICES_METRICS_REGISTRY_H_
#define HONE_SERVICES_METRICS_REGISTRY_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"

namespace hone {

// Thread-safe, as are the two below.
class Counter {
 public:
  void Add(double amount = 1);  // negative or not a number: ignored
  // For a total that somebody else keeps.
  void RaiseTo(double total);
  double value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<double> value_{0};
};

class Gauge {
 public:
  void Set(double value) { value_.store(value, std::memory_order_relaxed); }
  void Add(double amount);
  double value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<double> value_{0};
};

class Histogram {
 public:
  explicit Histogram(std::vector<double> bounds);  // ascending; +Inf comes by itself
  void Observe(double value, int64_t times = 1);   // not a number: ignored

  struct Snapshot {
    std::vector<double> bounds;
    std::vector<int64_t> cumulative;  // [bounds + 1], the last is the count
    double sum = 0;
  };
  Snapshot snapshot() const;

 private:
  const std::vector<double> bounds_;
  mutable std::mutex mutex_;
  std::vector<int64_t> counts_;  // [bounds + 1]
  double sum_ = 0;
};

// 0.1 ms to half an hour.
std::vector<double> SecondsBuckets();

// One name; a series for each set of label values. At most kMaxSeries: what comes beyond shares
// the series whose label values are all "other", so that nothing from outside makes it grow.
template <typename Metric>
class MetricFamily {
 public:
  static constexpr size_t kMaxSeries = 64;

  MetricFamily(std::vector<std::string> labels, std::function<std::unique_ptr<Metric>()> make);
  // REQUIRES: as many values as the family has labels. The metric lives as long as the registry.
  Metric& With(const std::vector<std::string>& values);
  Metric& operator*() { return With({}); }
  Metric* operator->() { return &With({}); }
  const std::vector<std::string>& labels() const { return labels_; }
  std::vector<std::pair<std::vector<std::string>, const Metric*>> All() const;  // by values

 private:
  const std::vector<std::string> labels_;
  const std::function<std::unique_ptr<Metric>()> make_;
  mutable std::mutex mutex_;
  std::map<std::vector<std::string>, std::unique_ptr<Metric>> series_;
};

// Thread-safe. A family is added once and found again under its name.
class MetricRegistry {
 public:
  // REQUIRES: names as Prometheus has them; a name added before has the same type and labels.
  MetricFamily<Counter>& AddCounter(const std::string& name, const std::string& help,
                                    const std::vector<std::string>& labels = {});
  MetricFamily<Gauge>& AddGauge(const std::string& name, const std::string& help,
                                const std::vector<std::string>& labels = {});
  MetricFamily<Histogram>& AddHistogram(const std::string& name, const std::string& help,
                                        const std::vector<double>& bounds,
                                        const std::vector<std::string>& labels = {});

  // Called before each Write, one at a time, until the handle goes away (which waits for it).
  using Hook = std::shared_ptr<void>;
  [[nodiscard]] Hook BeforeWriting(std::function<void()> look);

  // The content type is kMetricsContentType.
  std::string Write();

 private:
  struct Family {
    std::string help;
    std::unique_ptr<MetricFamily<Counter>> counter;  // one of three
    std::unique_ptr<MetricFamily<Gauge>> gauge;
    std::unique_ptr<MetricFamily<Histogram>> histogram;
  };
  struct Hooks {
    std::mutex mutex;
    int64_t next = 0;
    std::map<int64_t, std::function<void()>> by_number;
  };
  Family& Find(const std::string& name, const std::string& help,
               const std::vector<std::string>& labels);

  std::mutex mutex_;
  std::map<std::string, Family> families_;
  std::shared_ptr<Hooks> hooks_ = std::make_shared<Hooks>();
};

inline constexpr char kMetricsContentType[] = "text/plain; version=0.0.4; charset=utf-8";

}  // namespace hone

#endif  // HONE_SERVICES_METRICS_REGISTRY_H_
