// SPDX-License-Identifier: Apache-2.0
//
// hone serve: one service of the system, over gRPC.
#include <chrono>
#include <functional>
#include <iostream>
#include <memory>
#include <optional>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "policy/checkpoint/checkpoint.h"
#include "policy/local/local_policy.h"
#include "services/cli/command.h"
#include "services/cli/interrupt.h"
#include "services/cli/metrics_flags.h"
#include "services/cli/policy_source.h"
#include "services/clients/verifier_spec.h"
#include "services/metrics/policy_metrics.h"
#include "services/metrics/verdict_metrics.h"
#include "services/rpc/server.h"
#include "services/servers/policy_server.h"
#include "services/servers/verifier_server.h"

namespace hone::cli {
namespace {

struct ServeFlags {
  std::string listen;
  PolicyFlags policy;
  int slots = 8;
  int rows_per_pass = 4096;
  int decode_batch = 128;
  double router_bias_update = 0;
  double balance_loss = 0;
  std::vector<std::string> freeze;
  std::vector<std::string> verifiers;         // NAME=SPEC
  std::vector<std::string> verifier_options;  // NAME.KEY=VALUE
  VerifierServerOptions server;
  MetricsFlags metrics;
  double policy_drain_s = 5;
  double verifier_drain_s = 30;
};

// Serves until a signal comes, then lets running calls end.
int ServeUntilSignal(const std::string& listen, const rpc::ServedService& service,
                     absl::Duration grace, MetricRegistry* metrics, const Globals& globals) {
  rpc::ServerOptions options;
  options.listen = listen;
  options.metrics = metrics;
  auto server = rpc::Server::Start(options, {service});
  if (!server.ok()) return Fail(server.status(), globals);
  std::cout << nlohmann::json{{"listening", (*server)->address()}}.dump() << std::endl;
  while (InterruptFlag()->load() == 0) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  (*server)->Shutdown(grace);
  return kDone;
}

absl::StatusOr<ServedPolicy> LoadServed(const std::string& directory, bool weights_only,
                                        const ServeFlags& flags) {
  LocalPolicyOptions options;
  options.backend = flags.policy.backend;
  options.threads = ThreadsOrCores(flags.policy.threads);
  options.gradient_slots = flags.slots;
  options.max_rows_per_pass = flags.rows_per_pass;
  options.max_batch = flags.decode_batch;
  options.router_bias_rate = flags.router_bias_update;
  options.balance_alpha = flags.balance_loss;
  options.adaptation.freeze = flags.freeze;
  auto policy = LocalPolicy::CreateFromDirectory(directory, weights_only, options);
  if (!policy.ok()) return policy.status();
  std::shared_ptr<LocalPolicy> shared = *std::move(policy);
  return ServedPolicy{shared, shared};
}

// The policy with everything counted that passes; as it is where nobody counts.
absl::StatusOr<ServedPolicy> Measured(absl::StatusOr<ServedPolicy> served,
                                      MetricRegistry* registry) {
  if (!served.ok() || registry == nullptr) return served;
  struct Owner {
    ServedPolicy policy;
    MeasuredPolicy measured;
  };
  auto owner = std::shared_ptr<Owner>(
      new Owner{*served, MeasuredPolicy(*served->generator, served->learner.get(), *registry)});
  const absl::Status known = owner->measured.Info().status();
  if (!known.ok()) return known;
  std::shared_ptr<MeasuredPolicy> measured(owner, &owner->measured);
  return ServedPolicy{measured, measured};
}

int ServePolicy(const ServeFlags& flags, const Globals& globals) {
  CatchInterrupts();
  const auto metrics = Metrics::Start(flags.metrics, "policy");
  if (!metrics.ok()) return Fail(metrics.status(), globals);
  PolicyServerOptions options;
  options.learner.emplace();
  options.learner->set_gradient_slots(flags.slots);
  options.learner->set_max_rows_per_pass(flags.rows_per_pass);
  options.learner->set_router_bias_update(flags.router_bias_update);
  options.learner->set_balance_loss(flags.balance_loss);
  options.learner->mutable_freeze()->Assign(flags.freeze.begin(), flags.freeze.end());
  options.create = [&](const std::string& directory, bool weights_only) {
    return Measured(LoadServed(directory, weights_only, flags), metrics->registry());
  };
  ServedPolicy policy;
  if (!flags.policy.model.empty()) {
    auto loaded = Measured(LoadServed(flags.policy.model, /*weights_only=*/false, flags),
                           metrics->registry());
    if (!loaded.ok()) return Fail(loaded.status(), globals);
    policy = *std::move(loaded);
  }
  PolicyServer server(std::move(policy), std::move(options));
  return ServeUntilSignal(flags.listen, server.service(), absl::Seconds(flags.policy_drain_s),
                          metrics->registry(), globals);
}

// Specs come from this command line alone: a caller names what is here, or a built-in one.
absl::Status AddVerifiers(
    const ServeFlags& flags,
    const std::function<std::shared_ptr<Verifier>(std::shared_ptr<Verifier>)>& measured,
    VerifierPool* pool) {
  auto specs = ParseKeyValues("--verifier", flags.verifiers);
  if (!specs.ok()) return specs.status();
  auto texts = ParseKeyValues("--option", flags.verifier_options);
  if (!texts.ok()) return texts.status();
  std::map<std::string, VerifierOptions> options;
  for (const auto& [key, value] : *texts) {
    const size_t dot = key.find('.');
    const std::string name = key.substr(0, dot);
    if (dot == std::string::npos || specs->count(name) == 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("--option ", key, ": say NAME.KEY=VALUE, NAME being one of --verifier"));
    }
    options[name][key.substr(dot + 1)] = value;
  }
  for (const auto& [name, spec] : *specs) {
    if (pool->Find(name).ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat("--verifier ", name, ": a built-in verifier is called that"));
    }
    auto verifier = OpenVerifier(spec, options[name]);
    if (!verifier.ok()) return verifier.status();
    pool->Add(name, measured(*std::move(verifier)));
  }
  return absl::OkStatus();
}

// What the server says of its queue, for as long as the handle lives.
MetricRegistry::Hook AddQueueMetrics(MetricRegistry& registry, const VerifierServer& server) {
  Gauge& running = *registry.AddGauge("hone_num_requests_running", "calls being judged");
  Gauge& waiting = *registry.AddGauge("hone_num_requests_waiting", "calls waiting for a slot");
  MetricFamily<Counter>& left = registry.AddCounter("hone_verifier_calls_unserved_total",
                                                    "calls that were never judged", {"reason"});
  return registry.BeforeWriting([&] {
    const CallGateStats stats = server.queue();
    running.Set(stats.running);
    waiting.Set(stats.queued);
    left.With({"queue_full"}).RaiseTo(static_cast<double>(stats.refused));
    left.With({"left_queue"}).RaiseTo(static_cast<double>(stats.expired));
  });
}

int ServeVerifier(const ServeFlags& flags, const Globals& globals) {
  CatchInterrupts();
  const auto metrics = Metrics::Start(flags.metrics, "verifier");
  if (!metrics.ok()) return Fail(metrics.status(), globals);
  MetricRegistry* registry = metrics->registry();
  std::optional<VerdictMetrics> verdicts;
  if (registry != nullptr) verdicts.emplace(*registry);
  const auto measured = [&](std::shared_ptr<Verifier> verifier) {
    return verdicts ? MeasureVerifier(std::move(verifier), *verdicts) : verifier;
  };
  VerifierPool pool;
  for (const VerifierInfo& info : ListVerifiers()) {
    auto verifier = MakeVerifier(info.name, {});
    if (!verifier.ok()) return Fail(verifier.status(), globals);
    pool.Add(info.name, measured(*std::move(verifier)));
  }
  const absl::Status added = AddVerifiers(flags, measured, &pool);
  if (!added.ok()) return Fail(added, globals);
  const auto make =
      [&](absl::string_view name,
          const VerifierOptions& options) -> absl::StatusOr<std::shared_ptr<Verifier>> {
    auto verifier = MakeVerifier(name, options);
    if (!verifier.ok()) return verifier.status();
    return measured(*std::move(verifier));
  };
  VerifierServer server(pool, make, flags.server);
  MetricRegistry::Hook queue;
  if (registry != nullptr) queue = AddQueueMetrics(*registry, server);
  return ServeUntilSignal(flags.listen, server.service(), absl::Seconds(flags.verifier_drain_s),
                          registry, globals);
}

void AddListen(CLI::App& app, ServeFlags& flags) {
  app.add_option("--listen", flags.listen,
                 "unix:PATH or HOST:PORT on this machine; port 0: any free one")
      ->required();
}

void AddDrain(CLI::App& app, double& drain_s) {
  app.add_option("--drain-s", drain_s,
                 "what running calls get to end after a signal; then they are UNAVAILABLE")
      ->check(CLI::Range(0.0, 3600.0))
      ->capture_default_str();
}

void AddPolicyOptions(CLI::App& app, ServeFlags& flags) {
  AddListen(app, flags);
  AddPolicyFlags(app, flags.policy, /*required=*/false);
  app.add_option("--slots", flags.slots, "gradient slots; part of the result's bits")
      ->capture_default_str();
  app.add_option("--rows-per-pass", flags.rows_per_pass,
                 "tokens in one backward pass; part of the result's bits")
      ->capture_default_str();
  app.add_option("--decode-batch", flags.decode_batch, "completions decoded at once per thread")
      ->capture_default_str();
  app.add_option("--router-bias-update", flags.router_bias_update,
                 "rate of the correction bias; 0: frozen")
      ->capture_default_str();
  app.add_option("--balance-loss", flags.balance_loss, "weight of the sequence balance loss")
      ->capture_default_str();
  app.add_option("--freeze", flags.freeze,
                 "what does not train (policy.freeze of a run); repeat for more");
  AddMetricsFlags(app, flags.metrics);
  AddDrain(app, flags.policy_drain_s);
  app.footer(
      "Without --model it waits for a client's LoadState; until then calls fail with\n"
      "FAILED_PRECONDITION. The defaults are those of a run's configuration.");
}

void AddVerifierOptions(CLI::App& app, ServeFlags& flags) {
  AddListen(app, flags);
  app.add_option("--verifier", flags.verifiers,
                 "NAME=SPEC: one of your own besides the built-in ones; repeat for more");
  app.add_option("--option", flags.verifier_options, "NAME.KEY=VALUE: an option of that one");
  app.add_option("--slots", flags.server.slots, "calls judged at once")
      ->check(CLI::Range(1, 128))
      ->capture_default_str();
  app.add_option("--queue", flags.server.queue_limit,
                 "calls that may wait; more are RESOURCE_EXHAUSTED")
      ->check(CLI::Range(0, 120))
      ->capture_default_str();
  AddMetricsFlags(app, flags.metrics);
  AddDrain(app, flags.verifier_drain_s);
}

}  // namespace

Action SetUpServe(CLI::App& app, const Globals& globals) {
  auto flags = std::make_shared<ServeFlags>();
  app.require_subcommand(1);
  CLI::App* policy = app.add_subcommand("policy", "generate, score and learn for other processes");
  AddPolicyOptions(*policy, *flags);
  CLI::App* verifier = app.add_subcommand("verifier", "judge completions for other processes");
  AddVerifierOptions(*verifier, *flags);
  CLI::App* gateway = app.add_subcommand("gateway", "OpenAI-compatible HTTP; not in this build");
  gateway->allow_extras();
  app.footer(
      "Prints {\"listening\": ADDRESS} once ready. Stops on SIGINT or SIGTERM once running calls\n"
      "have ended (--drain-s); a second signal stops at once.");
  return [flags, policy, verifier, &globals] {
    if (policy->parsed()) return ServePolicy(*flags, globals);
    if (verifier->parsed()) return ServeVerifier(*flags, globals);
    return Fail(absl::UnimplementedError(
                    "the OpenAI-compatible gateway is not in this build; serve policy or verifier"),
                globals);
  };
}

}  // namespace hone::cli
