#include "trainer/config/config_rules.h"

#include <algorithm>

#include "model/config/config_rule.h"
#include "trainer/config/config_node.h"

namespace vmla::trainer {

void require_one_of(const std::string& key,
                    const std::string& value,
                    const std::vector<std::string>& valid) {
  if (std::find(valid.begin(), valid.end(), value) != valid.end()) return;
  fail_rule(key, "'{}' is unknown; valid: {}", value, join(valid));
}

void require_at_least(const std::string& key, int64_t value, int64_t least) {
  if (value < least) fail_rule(key, "{} is too small; use at least {}", value, least);
}

// Comparisons are written so that NaN breaks the rule.
void require_positive(const std::string& key, double value) {
  if (!(value > 0)) fail_rule(key, "{} must be above 0", shortest(value));
}

// `key` itself stands in the remedy: "use 0 <= ema.decay < 1".
void require_range(const std::string& key, double value, double low, double high, bool open_end) {
  if (value >= low && (open_end ? value < high : value <= high)) return;
  fail_rule(key,
            "{} is out of range; use {} <= {} {} {}",
            shortest(value),
            shortest(low),
            key,
            open_end ? "<" : "<=",
            shortest(high));
}

}  // namespace vmla::trainer
