// SPDX-License-Identifier: Apache-2.0
#include "rollout/tasks/problems.h"

#include <array>
#include <cassert>
#include <utility>

#include "absl/strings/str_cat.h"
#include "policy/hash.h"

namespace hone {
namespace {

constexpr int kMaxDraws = 1 << 16;

uint64_t FirstBytes(Sha256& hash) {
  const std::array<uint8_t, 32> digest = hash.Finish();
  uint64_t value = 0;
  for (int i = 0; i < 8; ++i) value = value << 8 | digest[static_cast<size_t>(i)];
  return value;
}

}  // namespace

Problem Problems::Nth(int64_t) const {
  assert(false && "an endless kind has no list");
  return {};
}

Problem Problems::Draw(KeyedRandom&) const {
  assert(false && "a finite kind is listed, not drawn");
  return {};
}

bool IsHeldout(absl::string_view generator, absl::string_view content, double heldout_share) {
  Sha256 hash;
  hash.UpdateField("heldout/1");
  hash.UpdateField(generator);
  hash.UpdateField(content);
  return static_cast<double>(FirstBytes(hash) >> 11) * 0x1p-53 < heldout_share;
}

SplitProblems::SplitProblems(std::string generator, std::unique_ptr<Problems> problems, Split split,
                             double heldout_share)
    : generator_(std::move(generator)),
      problems_(std::move(problems)),
      split_(split),
      heldout_share_(heldout_share) {
  for (int64_t i = 0; i < problems_->count(); ++i) {
    if (split_ == Split::kAll || IsHeldout(problems_->Nth(i)) == (split_ == Split::kHeldout)) {
      kept_.push_back(i);
    }
  }
}

int64_t SplitProblems::count() const {
  return problems_->count() < 0 ? -1 : static_cast<int64_t>(kept_.size());
}

Problem SplitProblems::Nth(int64_t index) const {
  return problems_->Nth(kept_.at(static_cast<size_t>(index)));
}

bool SplitProblems::IsHeldout(const Problem& problem) const {
  return hone::IsHeldout(generator_, problem.content, heldout_share_);
}

absl::StatusOr<Problem> SplitProblems::Draw(KeyedRandom& random) const {
  if (count() == 0) {
    return absl::InternalError(absl::StrCat("generator '", generator_,
                                            "': the split holds no task at this heldout_share"));
  }
  if (count() > 0) {
    return Nth(static_cast<int64_t>(random.UniformInt(static_cast<uint64_t>(count()))));
  }
  for (int draw = 0; draw < kMaxDraws; ++draw) {
    Problem problem = problems_->Draw(random);
    if (split_ == Split::kAll || IsHeldout(problem) == (split_ == Split::kHeldout)) return problem;
  }
  return absl::InternalError(absl::StrCat("generator '", generator_, "': no task of the split in ",
                                          kMaxDraws, " draws; take a wider range of numbers"));
}

SplitOptions ReadSplitOptions(OptionReader& options, bool train_only) {
  SplitOptions read;
  if (!train_only) {
    const std::string split = options.Choice("split", "train", {"train", "heldout", "all"});
    if (split == "heldout") read.split = Split::kHeldout;
    if (split == "all") read.split = Split::kAll;
  }
  read.heldout_share = options.Number("heldout_share", read.heldout_share, 0, 1);
  if ((read.split == Split::kTrain && read.heldout_share > 0.99) ||
      (read.split == Split::kHeldout && read.heldout_share < 0.001)) {
    options.Refuse(absl::StrCat("a heldout_share of ", read.heldout_share,
                                " leaves next to nothing in the split asked for"));
  }
  return read;
}

SampleKey DrawKey(absl::string_view stream, uint64_t seed, uint64_t index) {
  SampleKey key;
  key.run_seed = seed;
  key.purpose = Purpose::kData;
  key.group_ordinal = index;
  key.attempt = Crc32c(stream.data(), stream.size());
  return key;
}

}  // namespace hone
