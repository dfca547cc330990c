// SPDX-License-Identifier: Apache-2.0
//
// Kernels that walk rows: embedding, norm, rotary embedding, SwiGLU, add, expert rows.
#include <cassert>

#include "policy/kernels/cpu/kernels.h"
#include "policy/kernels/cpu/vec.h"

namespace hone::kernels::HONE_ISA {
namespace {

[[gnu::always_inline]] inline void CopyRow(float* to, const float* from, int64_t width) {
  __builtin_memcpy(to, from, static_cast<size_t>(width) * sizeof(float));
}

// y += x.
[[gnu::always_inline]] inline void AddRow(float* y, const float* x, int64_t width) {
  for (int64_t c = 0; c < width; c += kLanes) {
    StoreUpTo(y + c, LoadUpTo(y + c, width - c) + LoadUpTo(x + c, width - c), width - c);
  }
}

[[gnu::always_inline]] inline float InverseRoot(const float* x, int64_t width, float eps) {
  return 1.0f / __builtin_sqrtf(Dot(x, x, width) / static_cast<float>(width) + eps);
}

}  // namespace

void Embedding(Stream*, const EmbeddingArgs<float>& args) {
  const int64_t rows = args.tokens.shape[0], width = args.table.shape[1];
  assert(args.out.shape[0] == rows && args.out.shape[1] == width);
  for (int64_t m = 0; m < rows; ++m) {
    const int64_t token = args.tokens.data[m * args.tokens.stride[0]];
    assert(token >= 0 && token < args.table.shape[0]);
    CopyRow(args.out.data + m * args.out.stride[0], args.table.data + token * args.table.stride[0],
            width);
  }
}

void EmbeddingBackward(Stream*, const EmbeddingBackwardArgs<float>& args) {
  const int64_t rows = args.tokens.shape[0], width = args.d_table.shape[1];
  assert(args.d_out.shape[0] == rows && args.d_out.shape[1] == width);
  for (int64_t m = 0; m < rows; ++m) {
    const int64_t token = args.tokens.data[m * args.tokens.stride[0]];
    assert(token >= 0 && token < args.d_table.shape[0]);
    AddRow(args.d_table.data + token * args.d_table.stride[0],
           args.d_out.data + m * args.d_out.stride[0], width);
  }
}

void RmsNorm(Stream*, const RmsNormArgs<float>& args) {
  const int64_t rows = args.x.shape[0], width = args.x.shape[1];
  assert(args.y.shape[0] == rows && args.y.shape[1] == width && args.weight.shape[0] == width);
  for (int64_t m = 0; m < rows; ++m) {
    const float* x = args.x.data + m * args.x.stride[0];
    float* y = args.y.data + m * args.y.stride[0];
    const Vf r = Set(InverseRoot(x, width, args.eps));
    for (int64_t c = 0; c < width; c += kLanes) {
      const int64_t left = width - c;
      const Vf normed = LoadUpTo(x + c, left) * r;
      StoreUpTo(y + c, LoadUpTo(args.weight.data + c, left) * normed, left);
    }
  }
}

void RmsNormBackward(Stream*, const RmsNormBackwardArgs<float>& args) {
  const int64_t rows = args.x.shape[0], width = args.x.shape[1];
  assert(args.d_y.shape[0] == rows && args.d_x.shape[0] == rows);
  assert(args.d_y.shape[1] == width && args.d_x.shape[1] == width);
  assert(args.weight.shape[0] == width && (!args.d_weight || args.d_weight.shape[0] == width));
  const float* weight = args.weight.data;
  for (int64_t m = 0; m < rows; ++m) {
    const float* x = args.x.data + m * args.x.stride[0];
    const float* d_y = args.d_y.data + m * args.d_y.stride[0];
    float* d_x = args.d_x.data + m * args.d_x.stride[0];
    const float r = InverseRoot(x, width, args.eps);
    Vf dot{};
    for (int64_t c = 0; c < width; c += kLanes) {
      const Vf g = LoadUpTo(d_y + c, width - c) * LoadUpTo(weight + c, width - c);
      dot = Fma(g, LoadUpTo(x + c, width - c), dot);
    }
    const Vf along = Set(-(r * r * r * ReduceAdd(dot) / static_cast<float>(width)));
    const Vf scale = Set(r);
    for (int64_t c = 0; c < width; c += kLanes) {
      const int64_t left = width - c;
      const Vf x_c = LoadUpTo(x + c, left), d_y_c = LoadUpTo(d_y + c, left);
      const Vf g = d_y_c * LoadUpTo(weight + c, left);
      const Vf step = Fma(x_c, along, scale * g);
      StoreUpTo(d_x + c, LoadUpTo(d_x + c, left) + step, left);
      if (!args.d_weight) continue;
      float* d_weight = args.d_weight.data + c;
      StoreUpTo(d_weight, Fma(d_y_c, x_c * scale, LoadUpTo(d_weight, left)), left);
    }
  }
}

namespace {

// Lanes hold (even, odd) pairs beside (cosine, sine) pairs. sign: of the sine, by lane.
void RotateAdjacent(const float* x, const float* angles, Vf sign, int64_t width, float* y) {
  const Vi lane = LaneIndex();
  for (int64_t d = 0; d < width; d += kLanes) {
    const Vf pair = LoadUpTo(x + d, width - d), angle = LoadUpTo(angles + d, width - d);
    const Vf cosine = __builtin_shuffle(angle, lane & ~1);
    const Vf sine = __builtin_shuffle(angle, lane | 1) * sign;
    const Vf swapped = __builtin_shuffle(pair, lane ^ 1);
    StoreUpTo(y + d, pair * cosine + swapped * sine, width - d);
  }
}

void RotateHalves(const float* x, const float* angles, float sign, int64_t width, float* y) {
  const int64_t half = width / 2;
  for (int64_t i = 0; i < half; ++i) {
    const float cosine = angles[2 * i], sine = sign * angles[2 * i + 1];
    const float first = x[i], second = x[half + i];
    y[i] = first * cosine - second * sine;
    y[half + i] = second * cosine + first * sine;
  }
}

}  // namespace

void Rope(Stream*, const RopeArgs<float>& args) {
  const int64_t rows = args.x.shape[0], heads = args.x.shape[1], width = args.x.shape[2];
  assert(args.positions.shape[0] == rows && width % 2 == 0 && args.table.stride[1] == 2);
  assert(args.table.shape[1] == width / 2 && args.table.shape[2] == 2);
  const bool halves = args.pairing == RopePairing::kHalves;
  const float turn = args.inverse ? -1.0f : 1.0f;
  const Vf sign = Select((LaneIndex() & 1) == 0, Set(-turn), Set(turn));
  for (int64_t m = 0; m < rows; ++m) {
    const int64_t position = args.positions.data[m * args.positions.stride[0]];
    assert(position >= 0 && position < args.table.shape[0]);
    const float* angles = args.table.data + position * args.table.stride[0];
    for (int64_t h = 0; h < heads; ++h) {
      const float* x = args.x.data + m * args.x.stride[0] + h * args.x.stride[1];
      float* y = args.y.data + m * args.y.stride[0] + h * args.y.stride[1];
      if (halves) {
        RotateHalves(x, angles, turn, width, y);
      } else {
        RotateAdjacent(x, angles, sign, width, y);
      }
    }
  }
}

void CacheAppend(Stream*, const CacheAppendArgs<float>& args) {
  assert(args.rows.shape[1] == args.pages.shape[1]);
  for (int64_t m = 0; m < args.slot.shape[0]; ++m) {
    const int64_t slot = args.slot.data[m * args.slot.stride[0]];
    assert(slot >= 0 && slot < args.pages.shape[0]);
    CopyRow(args.pages.data + slot * args.pages.stride[0], args.rows.data + m * args.rows.stride[0],
            args.rows.shape[1]);
  }
}

void Swiglu(Stream*, const SwigluArgs<float>& args) {
  const int64_t rows = args.y.shape[0], width = args.y.shape[1];
  assert(args.gate.shape[0] == rows && args.gate.shape[1] == width);
  assert(args.up.shape[0] == rows && args.up.shape[1] == width);
  for (int64_t m = 0; m < rows; ++m) {
    const float* gate = args.gate.data + m * args.gate.stride[0];
    const float* up = args.up.data + m * args.up.stride[0];
    float* y = args.y.data + m * args.y.stride[0];
    for (int64_t f = 0; f < width; f += kLanes) {
      const int64_t left = width - f;
      const Vf z = LoadUpTo(gate + f, left);
      StoreUpTo(y + f, z * Sigmoid(z) * LoadUpTo(up + f, left), left);
    }
  }
}

void SwigluBackward(Stream*, const SwigluBackwardArgs<float>& args) {
  const int64_t rows = args.d_y.shape[0], width = args.d_y.shape[1];
  assert(args.gate.shape[1] == width && args.up.shape[1] == width);
  assert(args.d_gate.shape[1] == width && args.d_up.shape[1] == width);
  const Vf one = Set(1.0f);
  for (int64_t m = 0; m < rows; ++m) {
    const float* gate = args.gate.data + m * args.gate.stride[0];
    const float* up = args.up.data + m * args.up.stride[0];
    const float* d_y = args.d_y.data + m * args.d_y.stride[0];
    float* d_gate = args.d_gate.data + m * args.d_gate.stride[0];
    float* d_up = args.d_up.data + m * args.d_up.stride[0];
    for (int64_t f = 0; f < width; f += kLanes) {
      const int64_t left = width - f;
      const Vf z = LoadUpTo(gate + f, left), upstream = LoadUpTo(d_y + f, left);
      const Vf s = Sigmoid(z), slope = s * (one + z * (one - s));
      const Vf d_gate_f = upstream * LoadUpTo(up + f, left) * slope;
      StoreUpTo(d_gate + f, d_gate_f, left);
      StoreUpTo(d_up + f, upstream * (z * s), left);
    }
  }
}

void Add(Stream*, const AddArgs<float>& args) {
  const int64_t rows = args.y.shape[0], width = args.y.shape[1];
  assert(args.x.shape[0] == rows && args.x.shape[1] == width);
  for (int64_t m = 0; m < rows; ++m) {
    AddRow(args.y.data + m * args.y.stride[0], args.x.data + m * args.x.stride[0], width);
  }
}

void MoeGather(Stream*, const MoeGatherArgs<float>& args) {
  const int64_t slots = args.slot_row.shape[0], width = args.x.shape[1];
  assert(args.out.shape[0] == slots && args.out.shape[1] == width);
  for (int64_t j = 0; j < slots; ++j) {
    CopyRow(args.out.data + j * args.out.stride[0],
            args.x.data + args.slot_row.data[j] * args.x.stride[0], width);
  }
}

void MoeCombine(Stream*, const MoeCombineArgs<float>& args) {
  const int64_t rows = args.out.shape[0], width = args.out.shape[1];
  const int64_t chosen = args.row_slot.shape[1];
  for (int64_t m = 0; m < rows; ++m) {
    const int32_t* slots = args.row_slot.data + m * args.row_slot.stride[0];
    const float* weights = args.weights.data + m * args.weights.stride[0];
    float* out = args.out.data + m * args.out.stride[0];
    for (int64_t c = 0; c < width; c += kLanes) {
      const int64_t left = width - c;
      Vf sum{};
      for (int64_t k = 0; k < chosen; ++k) {
        sum = Fma(Set(weights[k]), LoadUpTo(args.y.data + slots[k] * args.y.stride[0] + c, left),
                  sum);
      }
      StoreUpTo(out + c, args.accumulate ? LoadUpTo(out + c, left) + sum : sum, left);
    }
  }
}

void MoeWeigh(Stream*, const MoeWeighArgs<float>& args) {
  const int64_t width = args.h.shape[1];
  for (int64_t m = 0; m < args.row_slot.shape[0]; ++m) {
    for (int64_t k = 0; k < args.row_slot.shape[1]; ++k) {
      const int64_t j = args.row_slot.data[m * args.row_slot.stride[0] + k];
      const Vf weight = Set(args.weights.data[m * args.weights.stride[0] + k]);
      const float* h = args.h.data + j * args.h.stride[0];
      float* d_h = args.d_h.data + j * args.d_h.stride[0];
      float* h_weighted = args.h_weighted.data + j * args.h_weighted.stride[0];
      Vf dot{};
      for (int64_t f = 0; f < width; f += kLanes) {
        const int64_t left = width - f;
        const Vf h_f = LoadUpTo(h + f, left), d_h_f = LoadUpTo(d_h + f, left);
        dot = Fma(d_h_f, h_f, dot);
        StoreUpTo(h_weighted + f, weight * h_f, left);
        StoreUpTo(d_h + f, weight * d_h_f, left);
      }
      args.d_weights.data[m * args.d_weights.stride[0] + k] = ReduceAdd(dot);
    }
  }
}

void MoeScatter(Stream*, const MoeScatterArgs<float>& args) {
  const int64_t width = args.d_x.shape[1];
  for (int64_t m = 0; m < args.row_slot.shape[0]; ++m) {
    for (int64_t k = 0; k < args.row_slot.shape[1]; ++k) {
      const int64_t j = args.row_slot.data[m * args.row_slot.stride[0] + k];
      AddRow(args.d_x.data + m * args.d_x.stride[0], args.d_xg.data + j * args.d_xg.stride[0],
             width);
    }
  }
}

}  // namespace hone::kernels::HONE_ISA
