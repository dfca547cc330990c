// SPDX-License-Identifier: Apache-2.0
#include "policy/checkpoint/gguf.h"

#include <cstring>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "policy/checkpoint/gguf_model.h"
#include "policy/checkpoint/weights.h"
#include "tests/policy/checkpoint/test_state.h"

namespace hone {
namespace {

using ::testing::HasSubstr;

// Writes the format: metadata first, then tensors, then Bytes().
class GgufWriter {
 public:
  template <typename T>
  static std::string Raw(T value) {
    return std::string(reinterpret_cast<const char*>(&value), sizeof(value));
  }
  static std::string Text(const std::string& text) { return Raw<uint64_t>(text.size()) + text; }

  void Add(const std::string& key, uint32_t type, const std::string& value) {
    entries_ += Text(key) + Raw(type) + value;
    ++entry_count_;
  }
  void Whole(const std::string& key, uint32_t value) { Add(key, 4, Raw(value)); }
  void Texts(const std::string& key, const std::vector<std::string>& texts) {
    std::string value = Raw<uint32_t>(8) + Raw<uint64_t>(texts.size());
    for (const std::string& text : texts) value += Text(text);
    Add(key, 9, value);
  }
  void Wholes(const std::string& key, const std::vector<int32_t>& values) {
    std::string value = Raw<uint32_t>(5) + Raw<uint64_t>(values.size());
    for (const int32_t number : values) value += Raw(number);
    Add(key, 9, value);
  }
  // Extents innermost first.
  void Tensor(const std::string& name, const std::vector<uint64_t>& extents, uint32_t type,
              const std::string& bytes) {
    tensors_ += Text(name) + Raw<uint32_t>(static_cast<uint32_t>(extents.size()));
    for (const uint64_t extent : extents) tensors_ += Raw(extent);
    tensors_ += Raw(type) + Raw<uint64_t>(data_.size());
    data_ += bytes;
    data_.append((32 - data_.size() % 32) % 32, '\0');
    ++tensor_count_;
  }
  void Floats(const std::string& name, const std::vector<uint64_t>& extents, float first) {
    uint64_t elements = 1;
    for (const uint64_t extent : extents) elements *= extent;
    std::string bytes;
    for (uint64_t i = 0; i < elements; ++i) bytes += Raw(first + static_cast<float>(i));
    Tensor(name, extents, 0, bytes);
  }
  std::string Bytes(uint32_t version = 3) const {
    std::string file = Raw<uint32_t>(0x46554747) + Raw(version) + Raw(tensor_count_) +
                       Raw(entry_count_) + entries_ + tensors_;
    file.append((32 - file.size() % 32) % 32, '\0');
    return file + data_;
  }

 private:
  std::string entries_, tensors_, data_;
  uint64_t entry_count_ = 0, tensor_count_ = 0;
};

// A Llama of one layer: width 4, 2 heads of 2 over 1 key head, 6 tokens.
GgufWriter TinyLlama(const std::string& pre = "smollm") {
  GgufWriter file;
  const auto text = [&](const std::string& key, const std::string& value) {
    file.Add(key, 8, GgufWriter::Text(value));
  };
  text("general.architecture", "llama");
  file.Whole("llama.embedding_length", 8);
  file.Whole("llama.feed_forward_length", 3);
  file.Whole("llama.block_count", 1);
  file.Whole("llama.context_length", 16);
  file.Whole("llama.attention.head_count", 2);
  file.Whole("llama.attention.head_count_kv", 1);
  file.Add("llama.attention.layer_norm_rms_epsilon", 6, GgufWriter::Raw(1e-5f));
  file.Add("llama.rope.freq_base", 6, GgufWriter::Raw(100000.0f));
  text("tokenizer.ggml.model", "gpt2");
  text("tokenizer.ggml.pre", pre);
  file.Texts("tokenizer.ggml.tokens", {"<|end|>", "a", "b", "ab", "1", "<user>"});
  file.Wholes("tokenizer.ggml.token_type", {3, 1, 1, 1, 1, 4});
  file.Texts("tokenizer.ggml.merges", {"a b"});
  file.Whole("tokenizer.ggml.eos_token_id", 0);
  file.Floats("token_embd.weight", {8, 6}, 0);
  file.Floats("output_norm.weight", {8}, 100);
  file.Floats("blk.0.attn_norm.weight", {8}, 200);
  file.Floats("blk.0.ffn_norm.weight", {8}, 300);
  file.Floats("blk.0.attn_q.weight", {8, 8}, 400);
  file.Floats("blk.0.attn_k.weight", {8, 4}, 500);
  file.Floats("blk.0.attn_v.weight", {8, 4}, 600);
  file.Floats("blk.0.attn_output.weight", {8, 8}, 700);
  file.Floats("blk.0.ffn_gate.weight", {8, 3}, 800);
  file.Floats("blk.0.ffn_up.weight", {8, 3}, 900);
  file.Floats("blk.0.ffn_down.weight", {3, 8}, 1000);
  return file;
}

absl::StatusOr<GgufFile> Opened(const TestFolder& scratch, const std::string& bytes) {
  const std::string path = scratch.path() + "/model.gguf";
  (void)RealFileSystem().Remove(path);
  auto file = RealFileSystem().Create(path);
  EXPECT_TRUE(file.ok() && (*file)->Append(bytes).ok() && (*file)->Close().ok());
  return GgufFile::Open(RealFileSystem(), path);
}

TEST(Gguf, ReadsMetadataOfEveryTypeAndTensorsInPlace) {
  GgufWriter file;
  file.Add("small", 1, GgufWriter::Raw<int8_t>(-3));
  file.Add("wide", 10, GgufWriter::Raw<uint64_t>(1ull << 63));
  file.Add("yes", 7, GgufWriter::Raw<uint8_t>(1));
  file.Add("half", 12, GgufWriter::Raw(0.5));
  file.Texts("words", {"a", ""});
  file.Floats("first", {3, 2}, 1);
  file.Floats("second", {1}, 9);
  for (const uint32_t version : {2u, 3u}) {
    const std::string bytes = file.Bytes(version);
    const auto header = ParseGguf(bytes, bytes.size());
    ASSERT_TRUE(header.ok()) << header.status();
    EXPECT_EQ(header->metadata, nlohmann::json({{"small", -3},
                                                {"wide", 1ull << 63},
                                                {"yes", true},
                                                {"half", 0.5},
                                                {"words", {"a", ""}}}));
    ASSERT_EQ(header->tensors.size(), 2u);
    EXPECT_EQ(header->tensors[0].shape, (std::vector<int64_t>{2, 3}));
    float value = 0;
    std::memcpy(&value, bytes.data() + header->tensors[1].begin, sizeof(value));
    EXPECT_EQ(value, 9);
  }
}

TEST(Gguf, AQuantisedBlockIsTheNumbersItStandsFor) {
  const std::string half = GgufWriter::Raw<uint16_t>(0x3800),
                    two = GgufWriter::Raw<uint16_t>(0x4000);
  std::string nibbles, bytes;
  for (int i = 0; i < 16; ++i) nibbles += static_cast<char>(i | (15 - i) << 4);
  for (int i = 0; i < 32; ++i) bytes += static_cast<char>(i - 20);
  float values[32];
  ASSERT_TRUE(GgufToFloats(2, half + nibbles, 32, values).ok());
  EXPECT_EQ(values[0], -4.0f);
  EXPECT_EQ(values[15], 3.5f);
  EXPECT_EQ(values[16], 3.5f);
  ASSERT_TRUE(GgufToFloats(3, half + two + nibbles, 32, values).ok());
  EXPECT_EQ(values[0], 2.0f);
  EXPECT_EQ(values[3], 3.5f);
  EXPECT_EQ(values[31], 2.0f);
  ASSERT_TRUE(GgufToFloats(8, two + bytes, 32, values).ok());
  EXPECT_EQ(values[0], -40.0f);
  EXPECT_EQ(values[31], 22.0f);
  ASSERT_TRUE(GgufToFloats(1, half + two, 2, values).ok());
  EXPECT_EQ(values[1], 2.0f);
  ASSERT_TRUE(GgufToFloats(30, GgufWriter::Raw<uint16_t>(0xc040), 1, values).ok());
  EXPECT_EQ(values[0], -3.0f);
  EXPECT_TRUE(absl::IsUnimplemented(GgufToFloats(14, "", 0, values)));
}

TEST(Gguf, EveryTruncationIsRefused) {
  const std::string bytes = TinyLlama().Bytes();
  for (size_t size = 0; size < bytes.size(); size += size < 1000 ? 1 : 37) {
    const auto header = ParseGguf(absl::string_view(bytes).substr(0, size), size);
    EXPECT_TRUE(absl::IsDataLoss(header.status())) << size << ": " << header.status();
  }
  // What is not read yet is not what is not there.
  EXPECT_TRUE(
      absl::IsOutOfRange(ParseGguf(absl::string_view(bytes).substr(0, 40), bytes.size()).status()));
}

TEST(Gguf, LiesAboutSizesAreNamed) {
  const auto why = [](const GgufWriter& file) {
    const std::string bytes = file.Bytes();
    return std::string(ParseGguf(bytes, bytes.size()).status().message());
  };
  GgufWriter twice;
  twice.Whole("a", 1);
  twice.Whole("a", 1);
  EXPECT_THAT(why(twice), HasSubstr("the key a appears twice"));
  GgufWriter huge_array;
  huge_array.Add("list", 9, GgufWriter::Raw<uint32_t>(5) + GgufWriter::Raw<uint64_t>(1ull << 62));
  EXPECT_THAT(why(huge_array), HasSubstr("an array of 4611686018427387904"));
  GgufWriter nested;
  nested.Add("list", 9, GgufWriter::Raw<uint32_t>(9) + GgufWriter::Raw<uint64_t>(1));
  EXPECT_THAT(why(nested), HasSubstr("an array of arrays"));
  GgufWriter overflow;
  overflow.Tensor("t", {1ull << 40, 1ull << 40}, 0, "");
  EXPECT_THAT(why(overflow), HasSubstr("an extent of"));
  GgufWriter ragged;
  ragged.Tensor("t", {33}, 3, std::string(40, 'x'));
  EXPECT_THAT(why(ragged), HasSubstr("not whole blocks of 32"));
  GgufWriter past;
  past.Tensor("t", {64}, 0, "short");
  EXPECT_THAT(why(past), HasSubstr("past the end of the file"));
  GgufWriter alignment;
  alignment.Whole("general.alignment", 24);
  EXPECT_THAT(why(alignment), HasSubstr("power of two"));
}

TEST(GgufModel, BecomesADirectoryOfPublishedNamesWithRotaryRowsInHalves) {
  TestFolder scratch;
  const auto file = Opened(scratch, TinyLlama().Bytes());
  ASSERT_TRUE(file.ok()) << file.status();
  const absl::Status written = WriteGgufModel(*file, scratch.path());
  ASSERT_TRUE(written.ok()) << written;
  const auto weights = WeightFiles::Open(RealFileSystem(), scratch.path(), nullptr);
  ASSERT_TRUE(weights.ok()) << weights.status();
  EXPECT_EQ(weights->all().size(), 11u);
  const auto row = [&](const std::string& name, int64_t index) {
    const WeightFiles::Place place = weights->Find("model.layers.0.self_attn." + name + ".weight");
    float value = -1;
    if (place.tensor == nullptr) return value;
    EXPECT_TRUE(place.file->ReadFloats(*place.tensor, index * 8, 1, &value).ok());
    return value;
  };
  // Heads of 4 rows: the file's 0 1 2 3 alternate between halves.
  EXPECT_EQ(row("q_proj", 0), 400);
  EXPECT_EQ(row("q_proj", 1), 400 + 2 * 8);
  EXPECT_EQ(row("q_proj", 2), 400 + 1 * 8);
  EXPECT_EQ(row("q_proj", 3), 400 + 3 * 8);
  EXPECT_EQ(row("q_proj", 5), 400 + 6 * 8);
  EXPECT_EQ(row("k_proj", 1), 500 + 2 * 8);
  EXPECT_EQ(row("v_proj", 1), 600 + 1 * 8);
}

TEST(GgufModel, TextsSayWhatTheMetadataSays) {
  TestFolder scratch;
  const auto file = Opened(scratch, TinyLlama().Bytes());
  ASSERT_TRUE(file.ok()) << file.status();
  const auto texts = GgufModelTexts(*file);
  ASSERT_TRUE(texts.ok()) << texts.status();
  const auto config = nlohmann::json::parse(texts->at("config.json"));
  EXPECT_EQ(config["rms_norm_eps"], 1e-5);
  EXPECT_EQ(config["rope_theta"], 100000);
  EXPECT_EQ(config["head_dim"], 4);
  EXPECT_EQ(config["num_key_value_heads"], 1);
  EXPECT_EQ(config["tie_word_embeddings"], true);
  EXPECT_EQ(config["torch_dtype"], "float32");
  EXPECT_EQ(config["eos_token_id"], 0);
  EXPECT_FALSE(config.contains("bos_token_id"));
  const auto tokenizer = nlohmann::json::parse(texts->at("tokenizer.json"));
  EXPECT_EQ(tokenizer["model"]["vocab"]["ab"], 3);
  ASSERT_EQ(tokenizer["added_tokens"].size(), 2u);
  EXPECT_EQ(tokenizer["added_tokens"][0]["special"], true);
  EXPECT_EQ(tokenizer["added_tokens"][1]["content"], "<user>");
  EXPECT_EQ(tokenizer["added_tokens"][1]["special"], false);
  EXPECT_EQ(nlohmann::json::parse(texts->at("tokenizer_config.json"))["eos_token"], "<|end|>");
}

TEST(GgufModel, WhatCannotBeHonouredIsRefusedByName) {
  TestFolder scratch;
  const auto why = [&](GgufWriter model) {
    const auto file = Opened(scratch, model.Bytes());
    if (!file.ok()) return file.status();
    return WriteGgufModel(*file, scratch.path());
  };
  EXPECT_THAT(std::string(why(TinyLlama("chatglm-bpe")).message()), HasSubstr("chatglm-bpe"));
  GgufWriter extra = TinyLlama();
  extra.Floats("blk.0.attn_q.bias", {8}, 0);
  EXPECT_THAT(std::string(why(extra).message()), HasSubstr("blk.0.attn_q.bias"));
  GgufWriter scaled = TinyLlama();
  scaled.Floats("rope_freqs.weight", {2}, 0);
  EXPECT_THAT(std::string(why(scaled).message()), HasSubstr("rotary scaling"));
  GgufWriter experts = TinyLlama();
  experts.Whole("llama.expert_count", 8);
  EXPECT_TRUE(absl::IsUnimplemented(why(experts)));
  EXPECT_TRUE(absl::IsUnimplemented(why(GgufWriter())));
  GgufWriter other;
  other.Add("general.architecture", 8, GgufWriter::Text("mamba"));
  EXPECT_THAT(std::string(why(other).message()), HasSubstr("mamba"));
}

}  // namespace
}  // namespace hone
