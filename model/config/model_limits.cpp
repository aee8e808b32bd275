#include <utility>

#include "model/config/config_rule.h"
#include "model/config/model_config.h"

namespace vmla::model {

void validate_limits(const ModelConfig& c, const std::string& p) {
  // Far above any network of this kind: 2^20 channels, where Wan's largest has 5120.
  constexpr int64_t kMost = int64_t{1} << 20, kMostLayers = 10'000;
  const auto require_at_most = [&](const char* key, int64_t value, int64_t most) {
    if (value > most) fail_rule(p + key, "{} is too large; use at most {}", value, most);
  };
  require_at_most("num_layers", c.num_layers, kMostLayers);
  const std::pair<const char*, int64_t> sizes[] = {{"dim", c.dim},
                                                   {"ffn_dim", c.ffn_dim},
                                                   {"num_heads", c.num_heads},
                                                   {"in_dim", c.in_dim},
                                                   {"out_dim", c.out_dim},
                                                   {"text_dim", c.text_dim},
                                                   {"text_len", c.text_len},
                                                   {"freq_dim", c.freq_dim},
                                                   {"q_lora_rank", c.q_lora_rank},
                                                   {"qk_nope_head_dim", c.qk_nope_head_dim},
                                                   {"qk_rope_head_dim", c.qk_rope_head_dim},
                                                   {"v_head_dim", c.v_head_dim}};
  for (const auto& [key, value] : sizes) require_at_most(key, value, kMost);
  for (const int64_t rank : c.kv_lora_rank.values) require_at_most("kv_lora_rank", rank, kMost);
  for (const int64_t patch : c.patch_size) require_at_most("patch_size", patch, kMost);
}

}  // namespace vmla::model
