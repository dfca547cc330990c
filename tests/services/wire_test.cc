// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <limits>
#include <string>

#include "absl/strings/match.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "hone/v1/policy_service.pb.h"
#include "hone/v1/trainer_service.pb.h"
#include "hone/v1/trajectory.pb.h"
#include "hone/v1/verifier_service.pb.h"
#include "services/convert/learning.h"
#include "services/convert/limits.h"
#include "services/convert/policy.h"
#include "services/convert/trajectory.h"
#include "services/convert/values.h"
#include "services/convert/verdict.h"
#include "services/convert/worker_config.h"
#include "tests/services/wire_values.h"

namespace hone {
namespace {

constexpr int kRounds = 200;
const float kNan = std::numeric_limits<float>::quiet_NaN();
const float kInf = std::numeric_limits<float>::infinity();

// Over real bytes, as the wire does it.
template <typename Message>
Message Travel(const Message& message) {
  Message arrived;
  EXPECT_TRUE(arrived.ParseFromString(message.SerializeAsString()));
  return arrived;
}

template <typename Message, typename T>
void ExpectArrives(const T& value) {
  Message message;
  convert::ToProto(value, &message);
  const auto arrived = convert::FromProto(Travel(message));
  ASSERT_TRUE(arrived.ok()) << arrived.status();
  EXPECT_EQ(Show(*arrived), Show(value));
}

TEST(Wire, CarriesGroupsAndTheirPartsToTheLastBit) {
  Values values(1);
  for (int i = 0; i < kRounds; ++i) {
    ExpectArrives<v1::SampleKey>(values.Key());
    ExpectArrives<v1::SamplingParams>(values.Sampling());
    ExpectArrives<v1::Routes>(values.SomeRoutes(3));
    ExpectArrives<v1::Task>(values.SomeTask());
    ExpectArrives<v1::Reward>(values.SomeReward());
    ExpectArrives<v1::Judgement>(values.SomeVerdict(static_cast<Outcome>(values.In(1, 7))));
    ExpectArrives<v1::Trajectory>(values.SomeTrajectory());
    ExpectArrives<v1::Group>(values.SomeGroup());
  }
}

TEST(Wire, CarriesJobsAndWorkerConfigs) {
  Values values(2);
  for (int i = 0; i < kRounds; ++i) {
    GroupJob job = {values.SomeTask(), values.Key(), values.In(0, 99), values.In(0, 99)};
    v1::GroupJob message;
    convert::ToProto(job, &message);
    const auto arrived = convert::FromProto(Travel(message));
    ASSERT_TRUE(arrived.ok()) << arrived.status();
    EXPECT_EQ(Show(arrived->task), Show(job.task));
    EXPECT_EQ(arrived->key, job.key);
    EXPECT_EQ(arrived->iteration, job.iteration);
    EXPECT_EQ(arrived->version, job.version);
  }
  WorkerSetup setup;
  setup.rollout.run_id = "run";
  setup.rollout.group_size = 5;
  setup.rollout.sampling = {0.7f, 0.9f, 3, 77};
  setup.rollout.prompt_template = "r1_zero";
  setup.rollout.eos = "<eos>";
  setup.rollout.reward.parts.resize(3);
  setup.rollout.reward.parts[0] = {"accuracy", 1.0 / 3, "", 1.0, "strict", 0, 0};
  setup.rollout.reward.parts[1] = {"format", 0.1, "accuracy", 0.25, "think_only", 0, 0};
  setup.rollout.reward.parts[2] = {"overlong", 1.0, "", 1.0, "strict", 70, 7};
  setup.rollout.advantage = {"grpo", 1e-5, 3.5};
  setup.rollout.default_verifier = "numeric";
  setup.rollout.verify_attempts = 7;
  setup.rollout.verify_deadline = absl::Milliseconds(1234);
  setup.rollout.min_judged_share = 0.75;
  setup.rollout.keep_routes = true;
  setup.tokenizer_json = std::string("{\"\0\xFF\"}", 6);
  setup.tokenizer_configs = {{"generation_config.json", std::string("{\0", 2)}, {"x", ""}};
  setup.verifiers = {{"math/strict", "numeric", {{"a", "b"}}}, {"exact", "exact", {}}};
  setup.policy_address = "unix:/p";
  setup.heartbeat = absl::Milliseconds(321);
  setup.jobs_per_lease = 9;
  ExpectArrives<v1::WorkerConfig>(setup);
}

TEST(Wire, CarriesGenerateRequestsAndChunks) {
  Values values(3);
  const absl::Time now = absl::FromUnixMicros(1700000000000000);
  for (int i = 0; i < kRounds; ++i) {
    GenerateRequest request;
    request.request_id = values.Name();
    request.prompt = values.Tokens(static_cast<size_t>(values.In(1, 9)));
    request.n = static_cast<int32_t>(values.In(1, 65536));
    request.key = values.Key();
    request.sampling = values.Sampling();
    request.stop_tokens = values.Tokens(2);
    if (values.Coin()) request.required_version = values.In(-5, 5);
    request.allow_switch = values.Coin();
    request.adapter_id = values.Name();
    request.top_logprobs = static_cast<int32_t>(values.In(0, 20));
    request.return_routes = values.Coin();
    request.prefix_handle = values.Name();
    if (values.Coin()) request.deadline = now + absl::Microseconds(values.In(-9999999, 9999999));
    v1::GenerateRequest::Item message;
    convert::ToProto(request, now, &message);
    const auto arrived = convert::FromProto(Travel(message), now);
    ASSERT_TRUE(arrived.ok()) << arrived.status();
    EXPECT_EQ(Show(*arrived), Show(request));

    GenerateChunk chunk;
    const size_t tokens = static_cast<size_t>(values.In(0, 9));
    chunk.request_id = values.Name();
    chunk.sequence = static_cast<int32_t>(values.In(0, 65536));
    chunk.version = values.In(0, 99);
    chunk.tokens = values.Tokens(tokens);
    chunk.logprobs = values.Floats(tokens);
    chunk.entropy = values.Floats(tokens);
    chunk.routes = values.SomeRoutes(tokens);
    if (values.Coin()) chunk.prompt_routes = values.SomeRoutes(3);
    chunk.stop_reason = static_cast<StopReason>(values.In(0, 4));
    v1::GenerateResponse piece;
    convert::ToProto(chunk, &piece);
    const auto got = convert::FromProto(Travel(piece));
    ASSERT_TRUE(got.ok()) << got.status();
    EXPECT_EQ(ShowAll(got->request_id, got->sequence, got->version, got->tokens, got->logprobs,
                      got->entropy, got->stop_reason) +
                  Show(got->routes) + Show(got->prompt_routes),
              ShowAll(chunk.request_id, chunk.sequence, chunk.version, chunk.tokens, chunk.logprobs,
                      chunk.entropy, chunk.stop_reason) +
                  Show(chunk.routes) + Show(chunk.prompt_routes));
  }
}

TEST(Wire, CarriesTrainingRequestsAndResults) {
  Values values(4);
  for (int i = 0; i < kRounds; ++i) {
    TrainSequence sequence;
    const size_t tokens = static_cast<size_t>(values.In(1, 9));
    sequence.tokens = values.Tokens(tokens);
    for (std::vector<float>* array :
         {&sequence.loss_mask, &sequence.advantages, &sequence.behaviour_logprobs,
          &sequence.proximal_logprobs, &sequence.reference_logprobs, &sequence.d_logprobs}) {
      if (values.Coin()) *array = values.Floats(tokens);
      if (!array->empty() && values.Coin()) (*array)[0] = kNan;
    }
    if (values.Coin()) sequence.routes = values.SomeRoutes(tokens);
    sequence.weight = values.Float();
    ExpectArrives<v1::TrainSequence>(sequence);

    ForwardBackwardRequest pass;
    pass.loss = {values.Name(), {{"clip_low", values.Double()}}, {{"kl", "k3"}}};
    pass.temperature = 0.7f;
    pass.top_p = 0.9f;
    pass.top_k = 3;
    pass.mask_vocabulary = values.Coin();
    pass.first_index = values.In(0, 99);
    pass.total_loss_tokens = std::abs(values.Double());
    pass.total_sequences = std::abs(values.Double());
    pass.forward_only = values.Coin();
    pass.live_routes = values.Coin();
    v1::ForwardBackwardRequest message;
    convert::SettingsToProto(pass, &message);
    const auto got = convert::SettingsFromProto(Travel(message));
    ASSERT_TRUE(got.ok()) << got.status();
    const auto show = [](const ForwardBackwardRequest& p) {
      return ShowAll(p.loss.name, p.loss.parameters, p.loss.options, p.temperature, p.top_p,
                     p.top_k, p.mask_vocabulary, p.first_index, p.total_loss_tokens,
                     p.total_sequences, p.forward_only, p.live_routes);
    };
    EXPECT_EQ(show(*got), show(pass));

    OptimStepRequest step = {
        values.In(0, 9),
        values.Name(),
        {values.Double(), 0.5, 0.25, values.Double(), values.Double(), std::abs(values.Double())}};
    v1::OptimStepRequest asked;
    convert::ToProto(step, &asked);
    const auto heard = convert::FromProto(Travel(asked));
    ASSERT_TRUE(heard.ok()) << heard.status();
    const auto show_step = [](const OptimStepRequest& s) {
      return ShowAll(s.expected_version, s.update_id, s.adamw.learning_rate, s.adamw.beta1,
                     s.adamw.beta2, s.adamw.epsilon, s.adamw.weight_decay, s.adamw.max_grad_norm);
    };
    EXPECT_EQ(show_step(*heard), show_step(step));
  }
}

TEST(Wire, CarriesNanWhereItMeansSomethingAndKeepsItsBits) {
  ScoreResult score;
  score.logprobs = {{kNan, -0.5f, -kInf}};
  score.entropy = {{kNan, 0.25f, 0}};
  score.argmax = {{-1, 4, 5}};
  v1::ScoreResponse::Sequence message;
  convert::SequenceToProto(score, 0, &message);
  ScoreResult got;
  ASSERT_TRUE(convert::AppendFromProto(Travel(message), 3, false, &got).ok());
  EXPECT_EQ(Show(got.logprobs[0]) + Show(got.entropy[0]) + Show(got.argmax[0]),
            Show(score.logprobs[0]) + Show(score.entropy[0]) + Show(score.argmax[0]));
  ForwardBackwardResult pass;
  pass.logprobs = {{kNan, kNan}};
  pass.entropy = {{kNan, 1}};
  pass.clipped = {{0, 2}};
  v1::ForwardBackwardResponse::Sequence sequence;
  convert::SequenceToProto(pass, 0, &sequence);
  ForwardBackwardResult back;
  ASSERT_TRUE(convert::AppendFromProto(Travel(sequence), 2, &back).ok());
  EXPECT_EQ(Show(back.logprobs[0]) + Show(back.clipped[0]),
            Show(pass.logprobs[0]) + Show(pass.clipped[0]));
}

TEST(Wire, CarriesQuestionsWithTheTimeLeftInsteadOfAClock) {
  Values values(5);
  for (int i = 0; i < kRounds; ++i) {
    Question question;
    question.item_id = values.Name();
    for (const char* kind : {"prompt", "model", "tool", "environment"}) {
      question.segments.push_back({values.Name(), kind, values.Text()});
    }
    question.stop_reason = values.Coin() ? "" : "length";
    question.truncated = values.Coin();
    question.answer = values.Text();
    question.tests_json = values.Text();
    question.metadata = values.Texts();
    question.lenient = values.Coin();
    question.bare = values.Coin();
    question.seed = static_cast<int64_t>(values.Bits());
    question.attempt = static_cast<int32_t>(values.In(0, 9));
    const absl::Time here = absl::FromUnixSeconds(1000), there = absl::FromUnixSeconds(5000);
    if (values.Coin()) question.deadline = here + absl::Microseconds(values.In(-999, 999));
    v1::Question message;
    convert::ToProto(question, here, &message);
    auto got = convert::FromProto(Travel(message), there);
    ASSERT_TRUE(got.ok()) << got.status();
    if (question.deadline != absl::InfiniteFuture()) got->deadline -= there - here;
    EXPECT_EQ(Show(*got), Show(question));
  }
}

TEST(Wire, AVerdictOverItsLimitsBecomesAnOutageThatSaysSo) {
  const auto sent = [](auto change) {
    Verdict verdict;
    verdict.outcome = Outcome::kCorrect;
    change(verdict);
    v1::Judgement message;
    convert::ToProto(verdict, &message);
    const auto arrived = convert::FromProto(message);
    EXPECT_TRUE(arrived.ok()) << arrived.status();
    return arrived.ok() ? *arrived : Verdict();
  };
  EXPECT_EQ(sent([](Verdict& v) { v.extracted.resize(4096); }).outcome, Outcome::kCorrect);
  EXPECT_EQ(sent([](Verdict& v) { v.evidence["e"].resize((1 << 20) - 1); }).outcome,
            Outcome::kCorrect);
  for (const Verdict& over : {sent([](Verdict& v) { v.extracted.resize(4097); }),
                              sent([](Verdict& v) { v.evidence["e"].resize(1 << 20); }),
                              sent([](Verdict& v) { v.detail.resize(65537); }),
                              sent([](Verdict& v) { v.parts.resize(65); }), sent([](Verdict& v) {
                                v.parts = {{"x", kNan, {}}};
                              })}) {
    EXPECT_EQ(over.outcome, Outcome::kOutage);
    EXPECT_TRUE(absl::StrContains(over.detail, "does not fit the wire")) << over.detail;
  }
}

// Each change of a good message makes it one that is refused, naming `field`.
template <typename Message>
void ExpectRefused(const Message& good, absl::string_view field,
                   const std::function<void(Message&)>& change) {
  Message bad = good;
  change(bad);
  const auto got = convert::FromProto(Travel(bad));
  ASSERT_EQ(got.status().code(), absl::StatusCode::kInvalidArgument) << field;
  EXPECT_TRUE(absl::StrContains(got.status().message(), field)) << got.status();
}

v1::Trajectory GoodTrajectory() {
  Values values(6);
  Trajectory t = values.SomeTrajectory();
  while (!IsVerdict(t.verdict.outcome) || t.tokens.size() < 2 || t.routes.moe_layers == 0) {
    t = values.SomeTrajectory();
  }
  t.verdict.parts = {{"accuracy", 1.0, std::nullopt}};
  v1::Trajectory message;
  convert::ToProto(t, &message);
  return message;
}

TEST(HostileMessage, OfATrajectoryIsRefusedByTheNameOfItsField) {
  using T = v1::Trajectory;
  const T good = GoodTrajectory();
  ASSERT_TRUE(convert::FromProto(good).ok());
  ExpectRefused<T>(good, "id", [](T& t) { t.set_id("../../etc/passwd"); });
  ExpectRefused<T>(good, "key", [](T& t) { t.clear_key(); });
  ExpectRefused<T>(good, "purpose",
                   [](T& t) { t.mutable_key()->set_purpose(static_cast<v1::Purpose>(99)); });
  ExpectRefused<T>(good, "tokens", [](T& t) { t.clear_tokens(); });
  ExpectRefused<T>(good, "tokens[1]", [](T& t) { t.set_tokens(1, -3); });
  ExpectRefused<T>(good, "logprobs", [](T& t) { t.add_behaviour_logprobs(0); });
  ExpectRefused<T>(good, "logprobs[0]", [](T& t) { t.set_behaviour_logprobs(0, kNan); });
  ExpectRefused<T>(good, "entropy", [](T& t) { t.mutable_entropy()->RemoveLast(); });
  ExpectRefused<T>(good, "entropy[1]", [](T& t) { t.set_entropy(1, kInf); });
  ExpectRefused<T>(good, "segments", [](T& t) { t.clear_segments(); });
  ExpectRefused<T>(good, "kind",
                   [](T& t) { t.mutable_segments(0)->set_kind(v1::SEGMENT_KIND_UNSPECIFIED); });
  ExpectRefused<T>(good, "segments[2].first_token",
                   [](T& t) { t.mutable_segments(2)->set_first_token(-1); });
  ExpectRefused<T>(good, "token_count", [](T& t) {
    t.mutable_segments(1)->set_token_count(std::numeric_limits<int32_t>::max());
  });
  ExpectRefused<T>(good, "stop_reason", [](T& t) { t.clear_stop_reason(); });
  ExpectRefused<T>(good, "sampling", [](T& t) { t.mutable_sampling()->set_top_p(0); });
  ExpectRefused<T>(good, "judgement", [](T& t) { t.clear_judgement(); });
  ExpectRefused<T>(good, "outcome", [](T& t) {
    t.mutable_judgement()->mutable_verdict()->set_outcome(v1::Verdict::OUTCOME_UNSPECIFIED);
  });
  ExpectRefused<T>(good, "raw", [](T& t) {
    t.mutable_judgement()->mutable_verdict()->mutable_parts(0)->set_raw(kNan);
  });
  ExpectRefused<T>(good, "reward", [](T& t) { t.mutable_reward()->set_total(kInf); });
  ExpectRefused<T>(good, "reward", [](T& t) {
    t.mutable_reward()->set_total(1);
    t.mutable_judgement()->mutable_outage();
  });
  ExpectRefused<T>(good, "advantage", [](T& t) { t.set_advantage(kNan); });
  ExpectRefused<T>(good, "experts", [](T& t) { t.mutable_routes()->set_experts(0, 65536); });
  ExpectRefused<T>(good, "experts", [](T& t) { t.mutable_routes()->set_slots(1000); });
  ExpectRefused<T>(good, "moe_layers", [](T& t) { t.mutable_routes()->set_moe_layers(-1); });
}

TEST(HostileMessage, OfAGroupIsRefusedByTheNameOfItsField) {
  using G = v1::Group;
  G good;
  convert::ToProto(Values(7).SomeGroup(), &good);
  *good.add_trajectories() = GoodTrajectory();
  ASSERT_TRUE(convert::FromProto(good).ok());
  ExpectRefused<G>(good, "id", [](G& g) { g.set_id("x"); });
  ExpectRefused<G>(good, "asked", [](G& g) { g.set_asked(-1); });
  ExpectRefused<G>(good, "outages", [](G& g) { g.set_outages(g.asked() + 1); });
  ExpectRefused<G>(good, "skipped", [](G& g) { g.set_skipped(-1); });
  ExpectRefused<G>(good, "baseline", [](G& g) { g.set_baseline(kNan); });
  ExpectRefused<G>(good, "drop", [](G& g) { g.clear_drop(); });
  ExpectRefused<G>(good, "task.difficulty",
                   [](G& g) { g.mutable_task()->set_difficulty(-static_cast<double>(kInf)); });
  ExpectRefused<G>(good, "task.id", [](G& g) { g.mutable_task()->set_id(std::string(4097, 'x')); });
  ExpectRefused<G>(good, "trajectories[",
                   [](G& g) { g.mutable_trajectories(g.trajectories_size() - 1)->clear_tokens(); });
  ExpectRefused<G>(good, "lost[", [](G& g) { g.add_lost(); });
}

TEST(HostileMessage, OfAGenerateRequestIsRefusedByTheNameOfItsField) {
  using Item = v1::GenerateRequest::Item;
  Item good;
  GenerateRequest request;
  request.prompt = {1, 2};
  request.sampling.max_tokens = 3;
  const absl::Time now = absl::Now();
  convert::ToProto(request, now, &good);
  ASSERT_TRUE(convert::FromProto(good, now).ok());
  const auto refused = [&](absl::string_view field, const std::function<void(Item&)>& change) {
    Item bad = good;
    change(bad);
    const auto got = convert::FromProto(bad, now);
    ASSERT_EQ(got.status().code(), absl::StatusCode::kInvalidArgument) << field;
    EXPECT_TRUE(absl::StrContains(got.status().message(), field)) << got.status();
  };
  refused("prompt", [](Item& i) { i.clear_prompt(); });
  refused("prompt", [](Item& i) {
    i.mutable_prompt()->Resize(static_cast<int>(convert::kMaxSequenceTokens) + 1, 0);
  });
  refused("n:", [](Item& i) { i.set_n(0); });
  refused("n:", [](Item& i) { i.set_n(65537); });
  refused("key.purpose", [](Item& i) { i.clear_key(); });
  refused("temperature", [](Item& i) { i.mutable_sampling()->set_temperature(kNan); });
  refused("top_p", [](Item& i) { i.mutable_sampling()->set_top_p(kNan); });
  refused("max_tokens", [](Item& i) { i.mutable_sampling()->set_max_tokens(0); });
  refused("request_id", [](Item& i) { i.set_request_id(std::string(4097, 'x')); });
  refused("stop_tokens", [](Item& i) { i.mutable_stop_tokens()->Resize(1025, 0); });
}

TEST(HostileMessage, OfATrainRequestIsRefusedByTheNameOfItsField) {
  using S = v1::TrainSequence;
  S good;
  for (int t = 0; t < 3; ++t) {
    good.add_tokens(t);
    good.add_loss_mask(1);
    good.add_advantages(1);
  }
  ASSERT_TRUE(convert::FromProto(good).ok());
  ExpectRefused<S>(good, "tokens", [](S& s) { s.clear_tokens(); });
  ExpectRefused<S>(good, "loss_mask", [](S& s) { s.add_loss_mask(1); });
  ExpectRefused<S>(good, "advantages[2]", [](S& s) { s.set_advantages(2, kInf); });
  ExpectRefused<S>(good, "d_logprobs", [](S& s) { s.add_d_logprobs(1); });
  ExpectRefused<S>(good, "weight", [](S& s) { s.set_weight(kNan); });
  using F = v1::ForwardBackwardRequest;
  F pass;
  convert::SettingsToProto({}, &pass);
  ASSERT_TRUE(convert::SettingsFromProto(pass).ok());
  const auto refused = [&](absl::string_view field, const std::function<void(F&)>& change) {
    F bad = pass;
    change(bad);
    const auto got = convert::SettingsFromProto(bad);
    ASSERT_EQ(got.status().code(), absl::StatusCode::kInvalidArgument) << field;
    EXPECT_TRUE(absl::StrContains(got.status().message(), field)) << got.status();
  };
  refused("loss parameter 'x'",
          [](F& f) { (*f.mutable_loss()->mutable_parameters())["x"] = kNan; });
  refused("temperature", [](F& f) { f.set_temperature(-1); });
  refused("first_index", [](F& f) { f.set_first_index(-1); });
  refused("total_loss_tokens", [](F& f) { f.set_total_loss_tokens(kInf); });
  using O = v1::OptimStepRequest;
  O step;
  convert::ToProto(OptimStepRequest(), &step);
  ASSERT_TRUE(convert::FromProto(step).ok());
  ExpectRefused<O>(step, "learning_rate", [](O& o) { o.mutable_adamw()->set_learning_rate(kNan); });
  ExpectRefused<O>(step, "beta1", [](O& o) { o.mutable_adamw()->set_beta1(1); });
  ExpectRefused<O>(step, "max_grad_norm", [](O& o) { o.mutable_adamw()->set_max_grad_norm(-1); });
}

TEST(HostileMessage, OfAScoreReplyIsRefused) {
  v1::ScoreResponse::Sequence good;
  for (int t = 0; t < 2; ++t) {
    good.add_logprobs(t == 0 ? kNan : -1);
    good.add_entropy(t == 0 ? kNan : 1);
    good.add_argmax(t == 0 ? -1 : 3);
  }
  const auto taken = [&](const std::function<void(v1::ScoreResponse::Sequence&)>& change) {
    v1::ScoreResponse::Sequence reply = good;
    change(reply);
    ScoreResult result;
    return convert::AppendFromProto(reply, 2, false, &result).ok();
  };
  EXPECT_TRUE(taken([](auto&) {}));
  EXPECT_FALSE(taken([](auto& r) { r.add_logprobs(-1); }));
  EXPECT_FALSE(taken([](auto& r) { r.set_logprobs(1, kNan); }));
  EXPECT_FALSE(taken([](auto& r) { r.set_logprobs(1, 0.5f); }));
  EXPECT_FALSE(taken([](auto& r) { r.set_entropy(1, kNan); }));
  EXPECT_FALSE(taken([](auto& r) { r.set_argmax(1, -1); }));
  EXPECT_FALSE(taken([](auto& r) { r.mutable_routes(); }));
}

TEST(HostileMessage, OfAWorkerConfigIsRefusedByTheNameOfItsField) {
  using W = v1::WorkerConfig;
  WorkerSetup setup;
  setup.rollout.sampling.max_tokens = 8;
  setup.rollout.reward.parts.resize(1);
  setup.rollout.reward.parts[0].name = "accuracy";
  W good;
  convert::ToProto(setup, &good);
  ASSERT_TRUE(convert::FromProto(good).ok()) << convert::FromProto(good).status();
  ExpectRefused<W>(good, "group_size", [](W& w) { w.set_group_size(0); });
  ExpectRefused<W>(good, "sampling", [](W& w) { w.clear_sampling(); });
  ExpectRefused<W>(good, "reward", [](W& w) { w.mutable_reward_parts(0)->set_name("nonsense"); });
  ExpectRefused<W>(good, "weight", [](W& w) { w.mutable_reward_parts(0)->set_weight(kNan); });
  ExpectRefused<W>(good, "advantage", [](W& w) { w.mutable_advantage()->set_estimator("x"); });
  ExpectRefused<W>(good, "heartbeat", [](W& w) { w.set_heartbeat_interval_ms(0); });
  ExpectRefused<W>(good, "jobs_per_lease", [](W& w) { w.set_jobs_per_lease(0); });
  ExpectRefused<W>(good, "verify_deadline_us", [](W& w) { w.set_verify_deadline_us(-1); });
  ExpectRefused<W>(good, "tokenizer_json", [](W& w) {
    w.set_tokenizer_json(std::string(static_cast<size_t>(convert::kMaxTokenizerBytes) + 1, 'x'));
  });
}

TEST(HostileMessage, OfRandomBytesNeverBreaksAReader) {
  Values values(8);
  v1::Group good;
  convert::ToProto(values.SomeGroup(), &good);
  *good.add_trajectories() = GoodTrajectory();
  const std::string bytes = good.SerializeAsString();
  int refused = 0;
  for (int i = 0; i < 3000; ++i) {
    std::string mutated = bytes;
    for (int64_t flips = values.In(1, 8); flips > 0; --flips) {
      mutated[values.Bits() % mutated.size()] = static_cast<char>(values.Bits());
    }
    v1::Group message;
    if (!message.ParsePartialFromString(mutated)) continue;
    const auto got = convert::FromProto(message);
    if (got.ok()) continue;
    ++refused;
    EXPECT_EQ(got.status().code(), absl::StatusCode::kInvalidArgument);
  }
  EXPECT_GT(refused, 0);
}

}  // namespace
}  // namespace hone
