// SPDX-License-Identifier: Apache-2.0
#include "policy/checkpoint/json_text.h"

#include <algorithm>
#include <cassert>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace hone {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

size_t SkipSpace(absl::string_view text, size_t at) {
  while (at < text.size() && absl::ascii_isspace(static_cast<unsigned char>(text[at]))) ++at;
  return at;
}

// One past the string that opens at `at`.
size_t EndOfString(absl::string_view text, size_t at) {
  for (++at; text[at] != '"'; ++at) at += text[at] == '\\';
  return at + 1;
}

// One past the value that begins at `at`.
size_t EndOfValue(absl::string_view text, size_t at) {
  int depth = 0;
  while (at < text.size()) {
    const char c = text[at];
    if (c == '"') {
      at = EndOfString(text, at);
      if (depth == 0) return at;
      continue;
    }
    if (depth == 0 &&
        (c == ',' || c == '}' || absl::ascii_isspace(static_cast<unsigned char>(c)))) {
      return at;
    }
    if (c == '{' || c == '[') ++depth;
    if ((c == '}' || c == ']') && --depth == 0) return at + 1;
    ++at;
  }
  return at;
}

json Parsed(absl::string_view text) {
  return json::parse(text.begin(), text.end());
}

}  // namespace

std::vector<JsonMember> JsonMembers(absl::string_view text) {
  std::vector<JsonMember> members;
  size_t at = SkipSpace(text, 0);
  assert(text[at] == '{');
  for (at = SkipSpace(text, at + 1); text[at] != '}';) {
    JsonMember member;
    member.begin = at;
    at = EndOfString(text, at);
    member.name = Parsed(text.substr(member.begin, at - member.begin)).get<std::string>();
    at = SkipSpace(text, SkipSpace(text, at) + 1);  // over the colon
    member.value = at;
    member.end = at = EndOfValue(text, at);
    members.push_back(std::move(member));
    at = SkipSpace(text, at);
    if (text[at] == ',') at = SkipSpace(text, at + 1);
  }
  return members;
}

std::string EditJsonObject(absl::string_view text, const ordered_json& set,
                           const std::vector<std::string>& removed) {
  const std::vector<JsonMember> members = JsonMembers(text);
  const size_t open = text.find('{');
  // What stands before the first member is what a new line of this file looks like.
  const std::string space(members.empty() ? "\n  "
                                          : text.substr(open + 1, members[0].begin - open - 1));
  std::string out(text.substr(0, open + 1));
  size_t kept = 0, done = open + 1;  // text before `done` is in `out` or dropped
  for (const JsonMember& member : members) {
    if (std::find(removed.begin(), removed.end(), member.name) != removed.end()) {
      done = member.end;
      continue;
    }
    // Between two members that stay stands what stood before the second, its comma included.
    const absl::string_view before = text.substr(done, member.begin - done);
    const size_t comma = before.find(',');
    if (kept++ > 0) out += ",";
    absl::StrAppend(&out, before.substr(comma == before.npos ? 0 : comma + 1));
    absl::StrAppend(&out, text.substr(member.begin, member.value - member.begin));
    const absl::string_view value = text.substr(member.value, member.end - member.value);
    const auto wanted = set.find(member.name);
    const bool same = wanted == set.end() || json(*wanted) == Parsed(value);
    out += same ? std::string(value) : wanted->dump();
    done = member.end;
  }
  for (const auto& [name, value] : set.items()) {
    const auto named = [&name = name](const JsonMember& member) { return member.name == name; };
    if (std::any_of(members.begin(), members.end(), named)) continue;
    absl::StrAppend(&out, kept++ > 0 ? "," : "", space, json(name).dump(), ": ", value.dump());
  }
  if (kept == 0) return absl::StrCat(out, text.substr(text.rfind('}')));
  const size_t last = members.empty() ? open + 1 : members.back().end;
  const absl::string_view tail = text.substr(last);
  return absl::StrCat(out, members.empty() ? "\n" : "",
                      members.empty() ? absl::StripLeadingAsciiWhitespace(tail) : tail);
}

}  // namespace hone
