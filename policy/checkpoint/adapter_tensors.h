// SPDX-License-Identifier: Apache-2.0
//
// Adapters' tensors as peft keeps them: base_model.model.MODULE.lora_A.weight [r, in] and
// ...lora_B.weight [out, r]. Routed experts apart (MODULE is ...mlp.experts.7.gate_proj), or a
// layer's fused as transformers 5 has them: MODULE is ...mlp.experts, or ...mlp.experts.base_layer
// where it has two, lora_A [E r, in] and lora_B [out, r E]. Expert e's A are rows [e r, (e+1) r),
// its B columns e, e + E, e + 2E, ...; of gate_up_proj gate_proj and up_proj share A, and B has
// gate_proj's rows first. gate_up_proj's from down_proj's are told by their shapes.
#ifndef HONE_POLICY_CHECKPOINT_ADAPTER_TENSORS_H_
#define HONE_POLICY_CHECKPOINT_ADAPTER_TENSORS_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "policy/checkpoint/adapter_files.h"
#include "policy/model/parameters.h"

namespace hone {

// "base_model.model." + name.
std::string AdapterTensorName(const ParameterInfo& adapter);

// The model's registry with the adapters that the tensors are. DATA_LOSS: a tensor that is absent,
// too many or of another shape than the model's.
absl::StatusOr<ParameterRegistry> AdaptedRegistry(const AdapterFiles& adapters,
                                                  const ModelConfig& config);

// Of an adapter of that registry. Zeros beyond the rank that the file has.
ReadParameter AdapterValues(const AdapterFiles& adapters, const ModelConfig& config);

}  // namespace hone

#endif  // HONE_POLICY_CHECKPOINT_ADAPTER_TENSORS_H_
