// SPDX-License-Identifier: Apache-2.0
#include "services/clients/verifier_group.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"

namespace hone {
namespace {

constexpr absl::Duration kReconnectPause = absl::Milliseconds(500);

bool IsWorthAnotherRound(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsResourceExhausted(status);
}

absl::StatusOr<std::string> OnlyName(const std::string& address) {
  auto offered = ListRemoteVerifiers(address);
  if (!offered.ok()) return offered.status();
  if (offered->size() == 1) return offered->front().name;
  std::vector<std::string> names;
  for (const VerifierInfo& info : *offered) names.push_back(info.name);
  return absl::InvalidArgumentError(absl::StrCat(
      "the service at ", address, " has ", names.empty() ? "none" : absl::StrJoin(names, ", "),
      "; say which after the address: #NAME"));
}

}  // namespace

struct VerifierGroup::State {
  struct Member {
    std::string address;
    std::mutex mutex;
    std::shared_ptr<RemoteVerifier> client;  // null until it answered once
    absl::Time next_try = absl::InfinitePast();
  };
  // What a call still has to find out.
  struct Call {
    absl::Span<const Question> questions;
    std::vector<Verdict> verdicts;
    std::vector<size_t> pending;  // without a verdict
    absl::Status error;           // the last
    bool full = false;            // some address was full in this round
    bool again = false;           // another round may help
    bool answered = false;        // some address answered
  };

  std::vector<std::unique_ptr<Member>> members;
  std::string name;
  VerifierOptions verifier_options;
  VerifierGroupOptions options;
  VerifierInfo info;
  std::atomic<size_t> turn{0};

  absl::StatusOr<std::shared_ptr<RemoteVerifier>> Client(Member& member) {
    std::lock_guard<std::mutex> lock(member.mutex);
    if (member.client != nullptr) return member.client;
    if (absl::Now() < member.next_try) {
      return absl::UnavailableError(absl::StrCat(member.address, " has not answered yet"));
    }
    member.next_try = absl::Now() + kReconnectPause;
    auto client = RemoteVerifier::Connect(member.address, name, verifier_options, options.remote);
    if (!client.ok()) return client.status();
    const VerifierInfo said = (*client)->Describe();
    if (!info.name.empty() && (said.name != info.name || said.version != info.version ||
                               said.config_hash != info.config_hash)) {
      return absl::FailedPreconditionError(absl::StrCat(
          member.address, " has another verifier: ", said.name, "/", said.version, "/",
          said.config_hash, ", not ", info.name, "/", info.version, "/", info.config_hash));
    }
    member.client = *std::move(client);
    return member.client;
  }

  void Ask(Member& member, Call& call) {
    std::vector<Question> asked;
    for (const size_t i : call.pending) asked.push_back(call.questions[i]);
    absl::StatusOr<std::vector<Verdict>> replies = absl::UnknownError("");
    auto client = Client(member);
    replies = client.ok() ? (*client)->Verify(asked) : client.status();
    if (!replies.ok()) {
      call.error = replies.status();
      call.full |= absl::IsResourceExhausted(call.error);
      call.again |= IsWorthAnotherRound(call.error);
      return;
    }
    call.answered = true;
    std::vector<size_t> left;
    for (size_t j = 0; j < asked.size(); ++j) {
      const size_t i = call.pending[j];
      call.verdicts[i] = std::move((*replies)[j]);
      if (call.verdicts[i].outcome == Outcome::kOutage) left.push_back(i);
    }
    call.pending = std::move(left);
  }

  absl::Time Deadline(const Call& call, absl::Time latest) const {
    absl::Time deadline = absl::InfinitePast();
    for (const size_t i : call.pending) {
      deadline = std::max(deadline, call.questions[i].deadline);
    }
    return std::min(deadline, latest);
  }

  void Run(Call& call) {
    const size_t first = turn.fetch_add(1);
    const absl::Time latest = absl::Now() + options.patience;
    absl::Duration wait = options.first_wait;
    for (int round = 1;; ++round) {
      call.full = call.again = false;
      for (size_t k = 0; k < members.size() && !call.pending.empty(); ++k) {
        Ask(*members[(first + k) % members.size()], call);
      }
      if (call.pending.empty() || !call.again) return;
      if (round >= options.rounds && !call.full) return;
      if (absl::Now() + wait >= Deadline(call, latest)) return;
      absl::SleepFor(wait);
      wait = std::min(wait * 2, options.longest_wait);
    }
  }
};

VerifierGroup::VerifierGroup(std::unique_ptr<State> state) : state_(std::move(state)) {}
VerifierGroup::~VerifierGroup() = default;
VerifierInfo VerifierGroup::Describe() const {
  return state_->info;
}

absl::StatusOr<std::unique_ptr<VerifierGroup>> VerifierGroup::Connect(
    const std::vector<std::string>& addresses, const std::string& name,
    const VerifierOptions& verifier_options, VerifierGroupOptions options) {
  auto state = std::make_unique<State>();
  state->name = name;
  state->verifier_options = verifier_options;
  state->options = options;
  absl::Status error = absl::InvalidArgumentError("no address");
  for (const std::string& address : addresses) {
    state->members.push_back(std::make_unique<State::Member>());
    state->members.back()->address = address;
    absl::Status status;
    if (state->name.empty()) {
      auto only = OnlyName(address);
      status = only.status();
      if (only.ok()) state->name = *only;
    }
    if (status.ok()) {
      auto client = state->Client(*state->members.back());
      status = client.status();
      if (client.ok() && state->info.name.empty()) state->info = (*client)->Describe();
    }
    if (status.ok()) continue;
    // A silent address may come later; a wrong one never will.
    if (!IsWorthAnotherRound(status) && !absl::IsDeadlineExceeded(status)) return status;
    error = status;
  }
  if (state->info.name.empty()) return error;
  return std::unique_ptr<VerifierGroup>(new VerifierGroup(std::move(state)));
}

absl::StatusOr<std::vector<Verdict>> VerifierGroup::Verify(absl::Span<const Question> questions) {
  State::Call call;
  call.questions = questions;
  call.verdicts.resize(questions.size());
  for (size_t i = 0; i < questions.size(); ++i) call.pending.push_back(i);
  if (questions.empty()) return call.verdicts;
  state_->Run(call);
  if (!call.answered) return call.error;
  for (const size_t i : call.pending) {
    Verdict& verdict = call.verdicts[i];
    if (verdict.outcome == Outcome::kOutage) continue;  // in its verifier's own words
    verdict.outcome = Outcome::kOutage;
    verdict.detail = std::string(call.error.message()).substr(0, 4096);
    verdict.verifier =
        absl::StrCat(state_->info.name, "/", state_->info.version, "/", state_->info.config_hash);
  }
  return std::move(call.verdicts);
}

}  // namespace hone
