#include "trainer/config/config_reference.h"

#include <vector>

#include "model/io/error.h"
#include "trainer/config/config_visit.h"
#include "trainer/config/train_config.h"

namespace vmla::trainer {
namespace {

constexpr char kPageTop[] =
    R"(<!-- Written by: build/vmla train --list-keys=markdown > docs/configuration.md -->
Before: [Architecture](architecture.md) · Next: [Files](formats.md) · [All pages](../README.md#pages)

# Configuration

Every key of a stage's yaml file, with its default. A file names the keys that differ from it; a run writes all of them
to `config.yaml` in its run folder. `--set section.key=value` overrides a key on the command line, in a pipeline
`--set STAGE.section.key=value`; the value is yaml. A key that is unknown, of the wrong type or in conflict with another
one ends the program with status 2 and a line that names the key, file and line and says what would be right.

`build/vmla train --list-keys` prints the same as plain text. This page is written by the program; a test fails when it
is not what the program prints now. After a change of a key, a default or a help text:

```sh runnable
build/vmla train --list-keys=markdown > docs/configuration.md
```
)";

constexpr char kTableTop[] = "\n| key | default | meaning |\n|---|---|---|\n";

std::vector<ConfigKey> stage_keys() {
  std::vector<ConfigKey> keys;
  list_keys("", TrainConfig{}, keys);
  return keys;
}

/// A table cell's own divider would end the cell.
std::string cell(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '|') out += '\\';
    out += c;
  }
  return out;
}

std::string code(const std::string& text) {
  return text.empty() ? "" : formatted("`{}`", cell(text));
}

/// "objective.dmd" of "objective.dmd.kv_grad"; empty for a key outside all sections.
std::string section_of(const std::string& key) {
  const size_t dot = key.rfind('.');
  return dot == std::string::npos ? "" : key.substr(0, dot);
}

/// The table of the keys that lie in `section` itself, not in a section below it; nothing where it
/// has none.
std::string key_table(const std::string& section, const std::vector<ConfigKey>& keys) {
  std::string rows;
  for (const ConfigKey& key : keys) {
    if (key.value.empty() || section_of(key.key) != section) continue;
    rows += formatted("| {} | {} | {} |\n", code(key.key), code(key.value), cell(key.help));
  }
  return rows.empty() ? "" : kTableTop + rows;
}

std::string heading(const ConfigKey& section) {
  const char* depth = section_of(section.key).empty() ? "##" : "###";
  return formatted("\n{} {}\n\n{}\n", depth, section.key, section.help);
}

/// The keys of one role's entry in `init_from`, a map whose names are free, so that list_keys sees
/// none of them.
std::string init_source_table() {
  std::vector<ConfigKey> keys;
  list_keys("init_from.ROLE", InitSource{}, keys);
  return formatted("\nThe value of a role is a path, or some of these keys:\n{}",
                   key_table("init_from.ROLE", keys));
}

}  // namespace

std::string config_reference() {
  std::string out;
  for (const auto& [key, value, help] : stage_keys()) {
    const std::string left = value.empty() ? key + ":" : key + ": " + value;
    out += left + std::string(left.size() < 44 ? 44 - left.size() : 1, ' ') + "# " + help + "\n";
  }
  return out;
}

std::string config_reference_markdown() {
  const std::vector<ConfigKey> keys = stage_keys();
  std::string outside;
  for (const ConfigKey& key : keys) {
    if (key.value.empty() || !section_of(key.key).empty()) continue;
    outside += (outside.empty() ? "" : ", ") + key.key;
  }
  std::string out = kPageTop + heading({outside, "", "Keys outside all sections."}) +
                    key_table("", keys) + init_source_table();
  for (const ConfigKey& key : keys) {
    if (key.value.empty()) out += heading(key) + key_table(key.key, keys);
  }
  return out;
}

}  // namespace vmla::trainer
