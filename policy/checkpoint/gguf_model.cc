// SPDX-License-Identifier: Apache-2.0
#include "policy/checkpoint/gguf_model.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "policy/checkpoint/digested_file.h"
#include "policy/checkpoint/safetensors.h"

namespace hone {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

// Reads metadata; the first entry that is absent or of another type is remembered.
class Metadata {
 public:
  explicit Metadata(const GgufFile& file) : file_(file) {}

  const absl::Status& status() const { return status_; }

  int64_t Whole(const std::string& key) {
    const json* value = Find(key, true);
    if (value == nullptr) return 0;
    return value->is_number_integer() && *value >= 0 && *value <= int64_t{1} << 40
               ? value->get<int64_t>()
               : Refuse<int64_t>(key, "a whole number");
  }
  int64_t Whole(const std::string& key, int64_t otherwise) {
    return Find(key, false) == nullptr ? otherwise : Whole(key);
  }
  // The shortest decimal that reads back to the float that is stored.
  double Number(const std::string& key, double otherwise) {
    const json* value = Find(key, false);
    if (value == nullptr) return otherwise;
    if (!value->is_number()) return Refuse<double>(key, "a number");
    char text[32];
    const auto end = std::to_chars(text, text + sizeof(text), value->get<float>()).ptr;
    double number = 0;
    (void)absl::SimpleAtod({text, static_cast<size_t>(end - text)}, &number);
    return std::isfinite(number) ? number : Refuse<double>(key, "finite");
  }
  std::string Text(const std::string& key, const std::string& otherwise) {
    const json* value = Find(key, false);
    if (value == nullptr) return otherwise;
    return value->is_string() ? value->get<std::string>() : Refuse<std::string>(key, "a text");
  }
  bool Flag(const std::string& key) {
    const json* value = Find(key, false);
    if (value == nullptr) return false;
    return value->is_boolean() ? value->get<bool>() : Refuse<bool>(key, "true or false");
  }
  const json& List(const std::string& key, bool texts) {
    static const json kNone = json::array();
    const json* value = Find(key, true);
    if (value == nullptr) return kNone;
    if (!value->is_array()) return Refuse<int>(key, "a list"), kNone;
    for (const json& element : *value) {
      if (texts ? !element.is_string() : !element.is_number_integer()) {
        return Refuse<int>(key, texts ? "a list of texts" : "a list of whole numbers"), kNone;
      }
    }
    return *value;
  }

 private:
  const json* Find(const std::string& key, bool needed) {
    const auto at = file_.metadata().find(key);
    if (at != file_.metadata().end()) return &*at;
    if (needed) Refuse<int>(key, "there");
    return nullptr;
  }
  template <typename T>
  T Refuse(const std::string& key, const char* wanted) {
    if (status_.ok()) {
      status_ = absl::DataLossError(
          absl::StrCat(file_.path(), ": the metadata ", key, " is not ", wanted));
    }
    return T{};
  }

  const GgufFile& file_;
  absl::Status status_;
};

absl::Status Unsupported(const GgufFile& file, absl::string_view what, absl::string_view read) {
  return absl::UnimplementedError(absl::StrCat(file.path(), ": ", what, "; Hone reads ", read));
}

absl::StatusOr<std::string> ConfigText(const GgufFile& file) {
  Metadata of(file);
  const int64_t width = of.Whole("llama.embedding_length");
  const int64_t heads = of.Whole("llama.attention.head_count");
  if (of.status().ok() && (heads < 1 || width % heads != 0)) {
    return absl::DataLossError(
        absl::StrCat(file.path(), ": a width of ", width, " for ", heads, " heads"));
  }
  const int64_t head = of.status().ok() ? width / heads : 0;
  const std::string scaling = of.Text("llama.rope.scaling.type", "none");
  if (scaling != "none" || file.Find("rope_freqs.weight") != nullptr) {
    return Unsupported(file, absl::StrCat("rotary scaling (", scaling, ")"), "none in GGUF files");
  }
  if (of.Whole("llama.expert_count", 0) != 0) return Unsupported(file, "experts", "dense ones");
  const GgufTensor* embedding = file.Find("token_embd.weight");
  if (embedding == nullptr || embedding->shape.size() != 2) {
    return absl::DataLossError(absl::StrCat(file.path(), ": token_embd.weight is not a matrix"));
  }
  ordered_json out = {
      {"architectures", {"LlamaForCausalLM"}},
      {"model_type", "llama"},
      {"hidden_act", "silu"},
      {"attention_bias", false},
      {"mlp_bias", false},
      {"vocab_size", embedding->shape[0]},
      {"hidden_size", width},
      {"intermediate_size", of.Whole("llama.feed_forward_length")},
      {"num_hidden_layers", of.Whole("llama.block_count")},
      {"num_attention_heads", heads},
      {"num_key_value_heads", of.Whole("llama.attention.head_count_kv", heads)},
      {"head_dim", of.Whole("llama.attention.key_length", head)},
      {"max_position_embeddings", of.Whole("llama.context_length")},
      {"rms_norm_eps", of.Number("llama.attention.layer_norm_rms_epsilon", 1e-5)},
      {"rope_theta", of.Number("llama.rope.freq_base", 10000)},
      {"rope_scaling", nullptr},
      {"tie_word_embeddings", file.Find("output.weight") == nullptr},
      {"torch_dtype", "float32"},
  };
  const int64_t rotated = of.Whole("llama.rope.dimension_count", head);
  if (!of.status().ok()) return of.status();
  if (rotated != out["head_dim"]) return Unsupported(file, "heads rotated in part", "whole ones");
  if (const int64_t bos = of.Whole("tokenizer.ggml.bos_token_id", -1); bos >= 0) {
    out["bos_token_id"] = bos;
  }
  if (const int64_t eos = of.Whole("tokenizer.ggml.eos_token_id", -1); eos >= 0) {
    out["eos_token_id"] = eos;
  }
  if (!of.status().ok()) return of.status();
  return out.dump(2) + "\n";
}

// The splits that the named pre-tokenizers stand for.
absl::StatusOr<json> PreTokenizer(const GgufFile& file, const std::string& name) {
  const json bytes_of_words = {{"type", "ByteLevel"},
                               {"add_prefix_space", false},
                               {"trim_offsets", true},
                               {"use_regex", true}};
  if (name == "gpt-2") return bytes_of_words;
  if (name == "smollm") {
    return json{
        {"type", "Sequence"},
        {"pretokenizers", {{{"type", "Digits"}, {"individual_digits", true}}, bytes_of_words}}};
  }
  if (name == "llama-bpe") {
    const char* words =
        "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}|"
        " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
    json bytes = bytes_of_words;
    bytes["use_regex"] = false;
    return json{{"type", "Sequence"},
                {"pretokenizers",
                 {{{"type", "Split"},
                   {"pattern", {{"Regex", words}}},
                   {"behavior", "Isolated"},
                   {"invert", false}},
                  bytes}}};
  }
  return Unsupported(file, absl::StrCat("the pre-tokenizer ", name), "smollm, gpt-2 and llama-bpe");
}

absl::StatusOr<std::string> TokenizerText(const GgufFile& file) {
  constexpr int64_t kControl = 3, kUserDefined = 4;
  Metadata of(file);
  const std::string model = of.Text("tokenizer.ggml.model", "");
  const std::string pre = of.Text("tokenizer.ggml.pre", "default");
  const json& tokens = of.List("tokenizer.ggml.tokens", true);
  const json& merges = of.List("tokenizer.ggml.merges", true);
  const json& types = of.List("tokenizer.ggml.token_type", false);
  if (model != "gpt2") {
    return Unsupported(file, absl::StrCat("the tokenizer ", model), "byte-level BPE (gpt2)");
  }
  if (!of.status().ok()) return of.status();
  if (types.size() != tokens.size()) {
    return absl::DataLossError(absl::StrCat(file.path(), ": ", tokens.size(), " tokens and ",
                                            types.size(), " token types"));
  }
  absl::StatusOr<json> pre_tokenizer = PreTokenizer(file, pre);
  if (!pre_tokenizer.ok()) return pre_tokenizer.status();
  json vocabulary = json::object(), added = json::array();
  for (size_t id = 0; id < tokens.size(); ++id) {
    const std::string& text = tokens[id].get_ref<const std::string&>();
    if (!vocabulary.emplace(text, id).second) {
      return absl::DataLossError(absl::StrCat(file.path(), ": token ", id, " appears twice"));
    }
    if (types[id] != kControl && types[id] != kUserDefined) continue;
    added.push_back({{"id", id},
                     {"content", text},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", types[id] == kControl}});
  }
  const ordered_json out = {
      {"version", "1.0"},
      {"truncation", nullptr},
      {"padding", nullptr},
      {"added_tokens", added},
      {"normalizer", nullptr},
      {"pre_tokenizer", *pre_tokenizer},
      {"post_processor", nullptr},
      {"decoder",
       {{"type", "ByteLevel"},
        {"add_prefix_space", true},
        {"trim_offsets", true},
        {"use_regex", true}}},
      {"model",
       {{"type", "BPE"},
        {"dropout", nullptr},
        {"unk_token", nullptr},
        {"continuing_subword_prefix", nullptr},
        {"end_of_word_suffix", nullptr},
        {"fuse_unk", false},
        {"byte_fallback", false},
        {"ignore_merges", pre == "llama-bpe"},
        {"vocab", vocabulary},
        {"merges", merges}}},
  };
  return out.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

absl::StatusOr<std::string> TokenizerConfigText(const GgufFile& file) {
  Metadata of(file);
  ordered_json out = {
      {"tokenizer_class", "PreTrainedTokenizerFast"},
      {"model_max_length", of.Whole("llama.context_length")},
      {"clean_up_tokenization_spaces", false},
      {"add_bos_token", of.Flag("tokenizer.ggml.add_bos_token")},
      {"add_eos_token", of.Flag("tokenizer.ggml.add_eos_token")},
  };
  const json& tokens = of.List("tokenizer.ggml.tokens", true);
  const std::pair<const char*, const char*> named[] = {{"bos_token", "bos"},
                                                       {"eos_token", "eos"},
                                                       {"pad_token", "padding"},
                                                       {"unk_token", "unknown"}};
  for (const auto& [key, name] : named) {
    const int64_t id = of.Whole(absl::StrCat("tokenizer.ggml.", name, "_token_id"), -1);
    if (id < 0) continue;
    if (static_cast<uint64_t>(id) >= tokens.size()) {
      return absl::DataLossError(
          absl::StrCat(file.path(), ": ", key, " is ", id, " of ", tokens.size(), " tokens"));
    }
    out[key] = tokens[static_cast<size_t>(id)];
  }
  const std::string chat = of.Text("tokenizer.chat_template", "");
  if (!chat.empty()) out["chat_template"] = chat;
  if (!of.status().ok()) return of.status();
  return out.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

// "blk.3.attn_q.weight" as its published name; empty: none.
std::string PublishedName(absl::string_view name) {
  if (name == "token_embd.weight") return "model.embed_tokens.weight";
  if (name == "output_norm.weight") return "model.norm.weight";
  if (name == "output.weight") return "lm_head.weight";
  static constexpr std::pair<absl::string_view, absl::string_view> kParts[] = {
      {"attn_norm", "input_layernorm"}, {"ffn_norm", "post_attention_layernorm"},
      {"attn_q", "self_attn.q_proj"},   {"attn_k", "self_attn.k_proj"},
      {"attn_v", "self_attn.v_proj"},   {"attn_output", "self_attn.o_proj"},
      {"ffn_gate", "mlp.gate_proj"},    {"ffn_up", "mlp.up_proj"},
      {"ffn_down", "mlp.down_proj"},
  };
  if (!absl::ConsumePrefix(&name, "blk.")) return "";
  const size_t dot = name.find('.');
  int32_t layer = 0;
  if (dot == absl::string_view::npos || !absl::SimpleAtoi(name.substr(0, dot), &layer)) return "";
  for (const auto& [part, published] : kParts) {
    if (name.substr(dot + 1) != absl::StrCat(part, ".weight")) continue;
    return absl::StrCat("model.layers.", layer, ".", published, ".weight");
  }
  return "";
}

}  // namespace

absl::StatusOr<std::map<std::string, std::string>> GgufModelTexts(const GgufFile& file) {
  const std::string architecture = Metadata(file).Text("general.architecture", "");
  if (architecture != "llama") {
    return Unsupported(file, absl::StrCat("the architecture ", architecture),
                       "llama in GGUF files");
  }
  std::map<std::string, std::string> texts;
  const struct {
    const char* name;
    absl::StatusOr<std::string> text;
  } made[] = {{"config.json", ConfigText(file)},
              {"tokenizer.json", TokenizerText(file)},
              {"tokenizer_config.json", TokenizerConfigText(file)}};
  for (const auto& [name, text] : made) {
    if (!text.ok()) return text.status();
    texts[name] = *text;
  }
  const json config = json::parse(texts["config.json"]);
  ordered_json generation = {{"_from_model_config", true}};
  for (const char* key : {"bos_token_id", "eos_token_id"}) {
    if (config.contains(key)) generation[key] = config[key];
  }
  texts["generation_config.json"] = generation.dump(2) + "\n";
  return texts;
}

absl::StatusOr<std::vector<GgufPlace>> GgufPlaces(const GgufFile& file) {
  Metadata of(file);
  const int64_t heads = of.Whole("llama.attention.head_count");
  const int64_t kv_heads = of.Whole("llama.attention.head_count_kv", heads);
  if (!of.status().ok()) return of.status();
  std::vector<GgufPlace> places;
  for (const GgufTensor& tensor : file.tensors()) {
    GgufPlace place;
    place.tensor = &tensor;
    place.name = PublishedName(tensor.name);
    if (place.name.empty()) {
      return Unsupported(file, absl::StrCat("the tensor ", tensor.name), "those of Llama's layers");
    }
    if (absl::EndsWith(tensor.name, ".attn_q.weight")) place.rotary_heads = heads;
    if (absl::EndsWith(tensor.name, ".attn_k.weight")) place.rotary_heads = kv_heads;
    const bool rotary = place.rotary_heads > 0;
    if (rotary && (tensor.shape.size() != 2 || tensor.shape[0] % (2 * place.rotary_heads) != 0)) {
      return absl::DataLossError(absl::StrCat(
          file.path(), ": ", tensor.name, " has not the rows of ", place.rotary_heads, " heads"));
    }
    places.push_back(std::move(place));
  }
  return places;
}

absl::StatusOr<std::vector<float>> ReadGgufPlace(const GgufFile& file, const GgufPlace& place) {
  absl::StatusOr<std::vector<float>> values = file.Read(*place.tensor);
  if (!values.ok() || place.rotary_heads == 0) return values;
  const int64_t rows = place.tensor->shape[0], width = place.tensor->shape[1];
  const int64_t head = rows / place.rotary_heads;
  std::vector<float> turned(values->size());
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t in_head = row % head;
    const int64_t to = row - in_head + in_head / 2 + (in_head % 2) * (head / 2);
    std::copy_n(values->data() + row * width, width, turned.data() + to * width);
  }
  return turned;
}

absl::Status WriteGgufModel(const GgufFile& file, const std::string& directory, FileSystem& files) {
  const auto texts = GgufModelTexts(file);
  if (!texts.ok()) return texts.status();
  const auto places = GgufPlaces(file);
  if (!places.ok()) return places.status();
  std::vector<float> values;  // of the tensor that is being written
  std::vector<TensorToWrite> tensors;
  for (const GgufPlace& place : *places) {
    TensorToWrite tensor;
    tensor.name = place.name;
    tensor.shape = place.tensor->shape;
    tensor.read = [&file, &place, &values](int64_t first, int64_t count, float* to) {
      if (first == 0) {
        absl::StatusOr<std::vector<float>> read = ReadGgufPlace(file, place);
        if (!read.ok()) return read.status();
        values = *std::move(read);
      }
      std::copy_n(values.data() + first, count, to);
      return absl::OkStatus();
    };
    tensors.push_back(std::move(tensor));
  }
  for (const auto& [name, text] : *texts) {
    const auto written = WriteDigestedFile(files, absl::StrCat(directory, "/", name), text);
    if (!written.ok()) return written.status();
  }
  const auto written =
      WriteSafetensors(files, absl::StrCat(directory, "/model.safetensors"), std::move(tensors));
  return written.ok() ? files.SyncDirectory(directory) : written.status();
}

}  // namespace hone
