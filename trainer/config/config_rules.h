#pragma once

#include <cstdint>
#include <string>
#include <vector>

/// Rules that many keys share. `key` is the full key. Each throws ConfigRuleError with the key, the
/// value and the remedy; load_config puts file and line in front of it.
namespace vmla::trainer {

void require_one_of(const std::string& key,
                    const std::string& value,
                    const std::vector<std::string>& valid);
void require_at_least(const std::string& key, int64_t value, int64_t least);
void require_positive(const std::string& key, double value);
/// low <= value < high with `open_end`, else low <= value <= high.
void require_range(const std::string& key, double value, double low, double high, bool open_end);

}  // namespace vmla::trainer
