// SPDX-License-Identifier: Apache-2.0
#include "services/clients/worker_protocol.h"

#include <cmath>
#include <initializer_list>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "verifier/answer/text.h"

namespace hone {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kMaxDepth = 32;
constexpr size_t kMaxParts = 62;  // with "accuracy" a verdict stays under the wire's 64
constexpr size_t kMaxNameBytes = 256;

absl::Status Refuse(absl::string_view what, absl::string_view line) {
  return absl::InvalidArgumentError(
      absl::StrCat(what, ": ", ReadableUtf8(line, 160, nullptr), line.size() > 160 ? "..." : ""));
}

absl::StatusOr<Json> ParseObject(absl::string_view line) {
  bool too_deep = false;
  Json value = Json::parse(
      line.begin(), line.end(),
      [&](int depth, Json::parse_event_t, Json&) {
        too_deep |= depth > kMaxDepth;
        return !too_deep;
      },
      /*allow_exceptions=*/false);
  if (too_deep) return Refuse("a line nested too deep", line);
  if (!value.is_object()) return Refuse("a line that is not a JSON object", line);
  return value;
}

absl::Status CheckKeys(const Json& object, std::initializer_list<absl::string_view> known,
                       absl::string_view line) {
  for (const auto& [key, value] : object.items()) {
    bool found = false;
    for (const absl::string_view name : known) found |= name == key;
    if (!found) return Refuse(absl::StrCat("unknown key \"", key, "\""), line);
  }
  return absl::OkStatus();
}

std::string Dump(const Json& json) {
  return json.dump(-1, ' ', /*ensure_ascii=*/true, Json::error_handler_t::replace);
}

// Metadata and tests are JSON texts; what is none is sent as the text it is.
Json JsonOf(const std::string& text) {
  Json value = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  return value.is_discarded() ? Json(text) : value;
}

bool IsName(const std::string& text) {
  return !text.empty() && text.size() <= kMaxNameBytes &&
         text.find_first_of(" \t\r\n/") == std::string::npos;
}

// Reads optional members; remembers the first that has another type.
class Reader {
 public:
  explicit Reader(const Json& object) : object_(object) {}
  std::string Text(const char* key) {
    const auto found = object_.find(key);
    if (found == object_.end()) return "";
    if (found->is_string()) return found->get<std::string>();
    Fail(key, "a string");
    return "";
  }
  std::optional<double> Number(const char* key) {
    const auto found = object_.find(key);
    if (found == object_.end()) return std::nullopt;
    if (found->is_number() && std::isfinite(found->get<double>())) return found->get<double>();
    Fail(key, "a finite number");
    return std::nullopt;
  }
  bool Flag(const char* key, bool otherwise) {
    const auto found = object_.find(key);
    if (found == object_.end()) return otherwise;
    if (found->is_boolean()) return found->get<bool>();
    Fail(key, "true or false");
    return otherwise;
  }
  void Fail(const char* key, absl::string_view wanted) {
    if (error_.empty()) error_ = absl::StrCat("\"", key, "\" is not ", wanted);
  }
  const std::string& error() const { return error_; }

 private:
  const Json& object_;
  std::string error_;
};

std::vector<VerdictPart> PartsOf(const Json& object, Reader& reader) {
  std::vector<VerdictPart> parts;
  const auto found = object.find("parts");
  if (found == object.end()) return parts;
  if (!found->is_object() || found->size() > kMaxParts) {
    reader.Fail("parts", "an object of at most 62 numbers");
    return parts;
  }
  for (const auto& [name, value] : found->items()) {
    if (!IsName(name) || name == "accuracy" || !value.is_number() ||
        !std::isfinite(value.get<double>())) {
      reader.Fail("parts", "an object of finite numbers by name (\"accuracy\" is the score's)");
      continue;
    }
    parts.push_back({name, value.get<double>(), std::nullopt});
  }
  return parts;
}

std::string TextOfKind(const Question& question, absl::string_view kind) {
  std::string text;
  for (const QuestionSegment& segment : question.segments) {
    if (segment.kind == kind) absl::StrAppend(&text, text.empty() ? "" : "\n", segment.text);
  }
  return text;
}

}  // namespace

absl::StatusOr<WorkerHello> ParseHello(absl::string_view line) {
  auto object = ParseObject(line);
  if (!object.ok()) return object.status();
  const auto version = object->find("hone_verifier");
  if (version == object->end() || !version->is_number_integer()) {
    return Refuse("the first line is no hello, which has \"hone_verifier\": 1", line);
  }
  if (version->get<int64_t>() != kWorkerProtocolVersion) {
    return Refuse("the worker speaks another version of the protocol; this Hone speaks 1", line);
  }
  const absl::Status known = CheckKeys(*object,
                                       {"hone_verifier", "name", "version", "description",
                                        "deterministic", "min", "max", "threshold"},
                                       line);
  if (!known.ok()) return known;
  Reader reader(*object);
  WorkerHello hello;
  hello.name = reader.Text("name");
  hello.version = reader.Text("version");
  hello.description = ReadableUtf8(reader.Text("description"), 1024, nullptr);
  hello.deterministic = reader.Flag("deterministic", true);
  hello.min = reader.Number("min");
  hello.max = reader.Number("max");
  hello.threshold = reader.Number("threshold");
  if (!IsName(hello.name)) reader.Fail("name", "a word without blanks and '/'");
  if (!IsName(hello.version)) reader.Fail("version", "a word without blanks and '/'");
  if (!reader.error().empty()) return Refuse(absl::StrCat("a hello whose ", reader.error()), line);
  return hello;
}

absl::StatusOr<std::string> ParseReplyId(absl::string_view line) {
  auto object = ParseObject(line);
  if (!object.ok()) return object.status();
  const auto id = object->find("item_id");
  if (id == object->end() || !id->is_string()) return Refuse("a line without \"item_id\"", line);
  return id->get<std::string>();
}

absl::StatusOr<WorkerReply> ParseReply(absl::string_view line) {
  auto object = ParseObject(line);
  if (!object.ok()) return object.status();
  const absl::Status known = CheckKeys(
      *object, {"item_id", "score", "skipped", "outage", "parts", "extracted", "detail"}, line);
  if (!known.ok()) return known;
  if (object->contains("score") + object->contains("skipped") + object->contains("outage") != 1) {
    return Refuse("an answer must have one of \"score\", \"skipped\", \"outage\"", line);
  }
  Reader reader(*object);
  WorkerReply reply;
  if (object->contains("score")) {
    reply.kind = WorkerReply::Kind::kScore;
    reply.score = reader.Number("score").value_or(0);
  } else if (object->contains("skipped")) {
    reply.kind = WorkerReply::Kind::kSkipped;
    reply.why = reader.Text("skipped");
  } else {
    reply.why = reader.Text("outage");
  }
  reply.parts = PartsOf(*object, reader);
  reply.extracted = reader.Text("extracted");
  reply.detail = reader.Text("detail");
  if (!reader.error().empty()) {
    return Refuse(absl::StrCat("an answer whose ", reader.error()), line);
  }
  return reply;
}

std::string FormatItem(const std::string& item_id, const Question& question) {
  Json metadata = Json::object();
  for (const auto& [key, value] : question.metadata) metadata[key] = JsonOf(value);
  Json item = {{"item_id", item_id},
               {"id", question.item_id},
               {"prompt", TextOfKind(question, "prompt")},
               {"completion", std::string(question.completion())},
               {"answer", question.answer}};
  if (!question.tests_json.empty()) item["tests"] = JsonOf(question.tests_json);
  item["metadata"] = std::move(metadata);
  item["stop_reason"] = question.stop_reason;
  item["truncated"] = question.truncated;
  item["lenient"] = question.lenient;
  item["bare"] = question.bare;
  item["seed"] = question.seed;
  return Dump(item);
}

std::string FormatHello(const VerifierInfo& info) {
  return Dump({{"hone_verifier", kWorkerProtocolVersion},
               {"name", info.name},
               {"version", absl::StrCat(info.version, "-", info.config_hash)},
               {"description", info.description},
               {"deterministic", info.deterministic}});
}

std::string FormatReply(const std::string& item_id, const Verdict& verdict) {
  Json reply = {{"item_id", item_id}};
  if (verdict.outcome == Outcome::kSkipped) {
    reply["skipped"] = verdict.detail;
  } else if (!IsVerdict(verdict.outcome)) {
    reply["outage"] = verdict.detail;
  } else {
    double score = verdict.outcome == Outcome::kCorrect ? 1 : 0;
    Json parts = Json::object();
    for (const VerdictPart& part : verdict.parts) {
      if (!part.raw) continue;
      if (part.name == "accuracy") {
        score = *part.raw;
      } else {
        parts[part.name] = *part.raw;
      }
    }
    reply["score"] = score;
    if (!parts.empty()) reply["parts"] = std::move(parts);
    reply["extracted"] = verdict.extracted;
    reply["detail"] = absl::StrCat(OutcomeName(verdict.outcome), ": ", verdict.detail);
  }
  return Dump(reply);
}

absl::StatusOr<std::pair<std::string, Question>> ParseItem(absl::string_view line) {
  auto object = ParseObject(line);
  if (!object.ok()) return object.status();
  const absl::Status known =
      CheckKeys(*object,
                {"item_id", "id", "prompt", "completion", "answer", "tests", "metadata",
                 "stop_reason", "truncated", "lenient", "bare", "seed"},
                line);
  if (!known.ok()) return known;
  const auto id = object->find("item_id");
  if (id == object->end() || !id->is_string()) return Refuse("an item without \"item_id\"", line);
  Reader reader(*object);
  Question question;
  question.item_id = reader.Text("id");
  const std::string prompt = reader.Text("prompt");
  if (!prompt.empty()) question.segments.push_back({"user", "prompt", prompt});
  question.segments.push_back({"assistant", "model", reader.Text("completion")});
  question.answer = reader.Text("answer");
  if (object->contains("tests")) question.tests_json = Dump((*object)["tests"]);
  if (const auto metadata = object->find("metadata"); metadata != object->end()) {
    if (!metadata->is_object()) reader.Fail("metadata", "an object");
    for (const auto& [key, value] : metadata->items()) question.metadata[key] = Dump(value);
  }
  question.stop_reason = reader.Text("stop_reason");
  question.truncated = reader.Flag("truncated", false);
  question.lenient = reader.Flag("lenient", false);
  question.bare = reader.Flag("bare", false);
  question.seed = static_cast<int64_t>(reader.Number("seed").value_or(0));
  if (!reader.error().empty()) return Refuse(absl::StrCat("an item whose ", reader.error()), line);
  return std::make_pair(id->get<std::string>(), std::move(question));
}

}  // namespace hone
