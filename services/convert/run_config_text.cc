// SPDX-License-Identifier: Apache-2.0
//
// Text to RunConfig and back: parsing with places and suggestions, settings, printing, comparing.
#include <algorithm>
#include <fstream>
#include <sstream>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/io/tokenizer.h"
#include "google/protobuf/text_format.h"
#include "services/convert/run_config.h"

namespace hone {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;
using google::protobuf::TextFormat;

constexpr size_t kConfigLimitBytes = 4 << 20;

size_t EditDistance(absl::string_view a, absl::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replace = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({replace, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

// "; did you mean "clip_low"?" or the list of names.
std::string Suggest(const Descriptor& message, absl::string_view unknown) {
  std::string best;
  size_t best_distance = std::max<size_t>(3, unknown.size() / 3 + 1);
  std::vector<std::string> names;
  for (int i = 0; i < message.field_count(); ++i) {
    names.push_back(message.field(i)->name());
    const size_t distance = EditDistance(names.back(), unknown);
    if (distance < best_distance) {
      best_distance = distance;
      best = names.back();
    }
  }
  if (!best.empty()) return absl::StrCat("; did you mean \"", best, "\"?");
  return absl::StrCat("; it has: ", absl::StrJoin(names, ", "));
}

// Finds a message of the schema by its full name.
const Descriptor* FindMessage(absl::string_view full_name) {
  return v1::RunConfig::descriptor()->file()->pool()->FindMessageTypeByName(std::string(full_name));
}

// protobuf says: Message type "hone.v1.LearnerConfig" has no field named "clip_epsilom".
std::string Explain(const std::string& message) {
  const std::vector<std::string> quoted = absl::StrSplit(message, '"');
  if (quoted.size() >= 4 && absl::StrContains(message, "has no field named")) {
    if (const Descriptor* type = FindMessage(quoted[1])) {
      return absl::StrCat("no field named \"", quoted[3], "\" in ", type->name(),
                          Suggest(*type, quoted[3]));
    }
  }
  return message;
}

class ErrorCollector : public google::protobuf::io::ErrorCollector {
 public:
  explicit ErrorCollector(std::string where) : where_(std::move(where)) {}
  void AddError(int line, google::protobuf::io::ColumnNumber column,
                const std::string& message) override {
    if (first_.empty()) {
      first_ = absl::StrCat(where_, ":", line + 1, ":", column + 1, ": ", Explain(message));
    }
  }
  const std::string& first() const { return first_; }

 private:
  std::string where_;
  std::string first_;
};

// One step of a setting's path: "parts[1]" is {"parts", 1}.
struct Step {
  std::string name;
  int index = -1;
};

absl::StatusOr<Step> ParseStep(absl::string_view text) {
  Step step;
  const size_t bracket = text.find('[');
  step.name = std::string(text.substr(0, bracket));
  if (bracket == absl::string_view::npos) return step;
  if (text.back() != ']' ||
      !absl::SimpleAtoi(text.substr(bracket + 1, text.size() - bracket - 2), &step.index) ||
      step.index < 0) {
    return absl::InvalidArgumentError(absl::StrCat("\"", text, "\" is not NAME or NAME[INDEX]"));
  }
  return step;
}

absl::StatusOr<Message*> Descend(Message* message, const FieldDescriptor* field, int index,
                                 const std::string& setting) {
  const Reflection* reflection = message->GetReflection();
  if (!field->is_repeated()) {
    if (index >= 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("--set ", setting, ": ", field->name(), " is not a list"));
    }
    return reflection->MutableMessage(message, field);
  }
  const int size = reflection->FieldSize(*message, field);
  if (index < 0 || index > size) {
    return absl::InvalidArgumentError(absl::StrCat("--set ", setting, ": ", field->name(),
                                                   " is a list of ", size, "; say ", field->name(),
                                                   "[0] to ", field->name(), "[", size, "]"));
  }
  if (index == size) return reflection->AddMessage(message, field);
  return reflection->MutableRepeatedMessage(message, field, index);
}

absl::Status SetMapEntry(Message* message, const FieldDescriptor* field, const std::string& key,
                         const std::string& value) {
  const Reflection* reflection = message->GetReflection();
  const FieldDescriptor* key_field = field->message_type()->map_key();
  const FieldDescriptor* value_field = field->message_type()->map_value();
  Message* entry = nullptr;
  for (int i = 0; i < reflection->FieldSize(*message, field); ++i) {
    Message* candidate = reflection->MutableRepeatedMessage(message, field, i);
    if (candidate->GetReflection()->GetString(*candidate, key_field) == key) entry = candidate;
  }
  if (entry == nullptr) entry = reflection->AddMessage(message, field);
  entry->GetReflection()->SetString(entry, key_field, key);
  entry->GetReflection()->SetString(entry, value_field, value);
  return absl::OkStatus();
}

absl::Status SetScalar(Message* message, const FieldDescriptor* field, const std::string& value,
                       const std::string& setting) {
  if (field->is_repeated()) message->GetReflection()->ClearField(message, field);
  std::string text = value;
  const bool quoted = !value.empty() && (value.front() == '"' || value.front() == '\'');
  if (field->cpp_type() == FieldDescriptor::CPPTYPE_STRING && !quoted) {
    message->GetReflection()->SetString(message, field, value);
    return absl::OkStatus();
  }
  ErrorCollector errors("--set");  // which says more than one error, and would be logged
  TextFormat::Parser parser;
  parser.RecordErrorsTo(&errors);
  if (!parser.ParseFieldValueFromString(text, field, message) || !errors.first().empty()) {
    return absl::InvalidArgumentError(absl::StrCat("--set ", setting, ": \"", value,
                                                   "\" is not a value of ", field->name(), " (",
                                                   field->cpp_type_name(), ")"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<v1::RunConfig> ParseRunConfig(absl::string_view text, const std::string& where) {
  if (text.size() > kConfigLimitBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(where, ": ", text.size(), " bytes; a config has at most ", kConfigLimitBytes));
  }
  v1::RunConfig config;
  ErrorCollector errors(where);
  TextFormat::Parser parser;
  parser.RecordErrorsTo(&errors);
  parser.SetRecursionLimit(32);
  if (!parser.ParseFromString(std::string(text), &config)) {
    return absl::InvalidArgumentError(errors.first().empty() ? absl::StrCat(where, ": unreadable")
                                                             : errors.first());
  }
  return config;
}

absl::Status ApplySetting(const std::string& setting, v1::RunConfig& config) {
  const size_t equals = setting.find('=');
  if (equals == std::string::npos || equals == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("--set ", setting, ": say KEY=VALUE, e.g. learner.iterations=50"));
  }
  const std::string value = setting.substr(equals + 1);
  const std::vector<std::string> path = absl::StrSplit(setting.substr(0, equals), '.');
  Message* message = &config;
  for (size_t i = 0; i < path.size(); ++i) {
    auto step = ParseStep(path[i]);
    if (!step.ok()) return step.status();
    const FieldDescriptor* field = message->GetDescriptor()->FindFieldByName(step->name);
    if (field == nullptr) {
      return absl::InvalidArgumentError(absl::StrCat(
          "--set ", setting, ": no field named \"", step->name, "\" in ",
          message->GetDescriptor()->name(), Suggest(*message->GetDescriptor(), step->name)));
    }
    if (field->is_map()) {
      if (i + 2 != path.size()) {
        return absl::InvalidArgumentError(absl::StrCat("--set ", setting, ": ", field->name(),
                                                       " is a map: say ", field->name(), ".KEY"));
      }
      return SetMapEntry(message, field, path[i + 1], value);
    }
    const bool last = i + 1 == path.size();
    const bool is_message = field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE;
    if (last != !is_message) {
      return absl::InvalidArgumentError(absl::StrCat(
          "--set ", setting, ": ", field->name(),
          is_message ? " is a section; name a field in it" : " is a value, not a section"));
    }
    if (last) return SetScalar(message, field, value, setting);
    auto next = Descend(message, field, step->index, setting);
    if (!next.ok()) return next.status();
    message = *next;
  }
  return absl::OkStatus();
}

absl::StatusOr<v1::RunConfig> LoadRunConfig(const std::vector<std::string>& files,
                                            const std::vector<std::string>& settings) {
  v1::RunConfig config;
  for (const std::string& file : files) {
    std::ifstream in(file, std::ios::binary);
    if (!in) {
      return absl::NotFoundError(absl::StrCat("no config file at ", file));
    }
    std::ostringstream text;
    text << in.rdbuf();
    auto parsed = ParseRunConfig(text.str(), file);
    if (!parsed.ok()) return parsed.status();
    config.MergeFrom(*parsed);
    if (parsed->name().empty()) {
      absl::string_view name = file;
      name = name.substr(name.rfind('/') == absl::string_view::npos ? 0 : name.rfind('/') + 1);
      config.set_name(std::string(name.substr(0, name.find('.'))));
    }
  }
  for (const std::string& setting : settings) {
    absl::Status applied = ApplySetting(setting, config);
    if (!applied.ok()) return applied;
  }
  CompleteRunConfig(config);
  absl::Status checked = CheckRunConfig(config);
  if (!checked.ok()) return checked;
  return config;
}

std::string PrintRunConfig(const v1::RunConfig& config) {
  std::string text;
  TextFormat::Printer printer;
  printer.SetUseShortRepeatedPrimitives(true);
  printer.PrintToString(config, &text);
  return text;
}

std::string CanonicalRunConfig(const v1::RunConfig& config) {
  v1::RunConfig canonical = config;
  canonical.clear_name();
  canonical.mutable_policy()->clear_threads();
  canonical.mutable_policy()->clear_decode_batch();
  canonical.mutable_policy()->clear_backend();  // compared on its own, by id
  canonical.mutable_rollout()->clear_workers();
  canonical.mutable_limits()->clear_max_seconds();
  canonical.mutable_checkpoint()->clear_keep();
  canonical.clear_store();  // what is removed has its hash in its place
  canonical.mutable_rewards()->clear_verify_deadline_s();
  canonical.mutable_rewards()->clear_verify_threads();
  return PrintRunConfig(canonical);
}

namespace {

// "learner.iterations: 40" for every leaf line of a printed config.
std::vector<std::string> Leaves(absl::string_view text) {
  std::vector<std::string> leaves;
  std::vector<std::string> path;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    line = absl::StripAsciiWhitespace(line);
    if (line.empty()) continue;
    if (absl::ConsumeSuffix(&line, " {")) {
      path.push_back(std::string(line));
    } else if (line == "}") {
      if (!path.empty()) path.pop_back();
    } else {
      leaves.push_back(absl::StrCat(absl::StrJoin(path, "."), path.empty() ? "" : ".", line));
    }
  }
  return leaves;
}

}  // namespace

std::string DescribeDifference(absl::string_view ours, absl::string_view theirs,
                               absl::string_view name_ours, absl::string_view name_theirs) {
  if (ours == theirs) return "";
  std::vector<std::string> a = Leaves(ours);
  std::vector<std::string> b = Leaves(theirs);
  std::sort(a.begin(), a.end());
  std::sort(b.begin(), b.end());
  std::vector<std::string> only_a;
  std::vector<std::string> only_b;
  std::set_difference(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(only_a));
  std::set_difference(b.begin(), b.end(), a.begin(), a.end(), std::back_inserter(only_b));
  std::string out;
  const size_t width = std::max(name_ours.size(), name_theirs.size()) + 1;
  const auto add = [&out, width](absl::string_view name, const std::string& line) {
    absl::StrAppend(&out, "  ", name, ":", std::string(width - name.size(), ' '), line, "\n");
  };
  for (const std::string& line : only_a) add(name_ours, line);
  for (const std::string& line : only_b) add(name_theirs, line);
  return out;
}

}  // namespace hone
