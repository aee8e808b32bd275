#!/usr/bin/env python3
"""Each rule finds a planted violation, at its place, and is silent about the same tree without it."""

import tempfile
import unittest
from pathlib import Path

import source_rules
from source_tree import SourceTree

# A small tree that keeps every rule.
CLEAN = {
    "kernels/CMakeLists.txt": "vmla_library(vmla_kernels HEADERS norm/norm.h SOURCES norm/norm.cpp)\n",
    "kernels/norm/norm.h": "#pragma once\n#include <ATen/core/Tensor.h>\n",
    "kernels/norm/norm.cpp": '#include "kernels/norm/norm.h"\n#include <ATen/ATen.h>\n',
    "model/CMakeLists.txt": "add_subdirectory(io)\nvmla_library(vmla_model\n  HEADERS network/block.h  # the unit\n  SOURCES network/block.cpp\n  PUBLIC vmla_kernels)\n",
    "model/network/block.h": '#pragma once\n#include <vector>\n#include "kernels/norm/norm.h"\n#include "model/io/log.h"\n',
    "model/network/block.cpp": '#include "model/network/block.h"\n',
    "model/io/CMakeLists.txt": "vmla_library(vmla_model_io NO_TORCH HEADERS log.h SOURCES log.cpp)\n",
    "model/io/log.h": "#pragma once\n#include <string>\n#include <unistd.h>\n",
    "model/io/log.cpp": '#include "model/io/log.h"\n#include <spdlog/spdlog.h>\n',
    "build/generated.h": "not a source\n",
}


class Planted(unittest.TestCase):
    def violations(self, rule, changes=None):
        with tempfile.TemporaryDirectory() as folder:
            for path, text in {**CLEAN, **(changes or {})}.items():
                file = Path(folder, path)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text)
            return list(rule(SourceTree(folder)))

    def finds(self, rule, changes, *expected):
        found = self.violations(rule, changes)
        self.assertEqual(len(found), len(expected), found)
        for line, part in zip(sorted(found), sorted(expected)):
            self.assertIn(part, line)

    def test_clean_tree_has_no_violation(self):
        for rule in source_rules.RULES:
            self.assertEqual(self.violations(rule), [], rule.__name__)

    def test_include_of_a_higher_layer(self):
        self.finds(source_rules.layering, {"kernels/norm/norm.cpp": '#include "kernels/norm/norm.h"\n#include "model/network/block.h"\n'},
                   "kernels/norm/norm.cpp:2: kernels includes model/network/block.h")

    def test_torch_free_ground_under_model_may_not_look_up(self):
        self.finds(source_rules.layering, {"model/io/log.cpp": '#include "model/network/block.h"\n'}, "model/io/log.cpp:1")

    def test_folders_inside_a_layer_have_an_order(self):
        self.finds(source_rules.layering, {"model/config/sizes.h": '#pragma once\n#include "model/network/block.h"\n'},
                   "model/config/sizes.h:2: model/config includes model/network/block.h")

    def test_folder_without_a_place_in_the_order(self):
        self.finds(source_rules.layering, {"model/new/part.h": "#pragma once\n"}, "model/new/part.h:1")

    def test_include_of_a_test_header(self):
        self.finds(source_rules.layering, {"tests/support/near.h": "#pragma once\n",
                                           "model/network/block.cpp": '#include "tests/support/near.h"\n'}, "model/network/block.cpp:1")

    def test_indirect_libtorch_header_in_a_torch_free_target(self):
        self.finds(source_rules.torch_free, {
            "model/io/log.cpp": '#include "model/io/level.h"\n',
            "model/io/level.h": "#pragma once\n\n#include <c10/util/Exception.h>\n",
        }, "model/io/level.h:3: vmla_model_io is free of LibTorch")

    def test_program_is_free_of_libtorch_by_what_it_links(self):
        program = "add_executable(front main.cpp)\ntarget_link_libraries(front PRIVATE {})\ntarget_sources(front PRIVATE more.cpp)\n"
        files = {"launch/main.cpp": "", "launch/more.cpp": "#include <ATen/ATen.h>\n"}
        self.finds(source_rules.torch_free, {**files, "launch/CMakeLists.txt": program.format("vmla_model_io")},
                   "launch/more.cpp:1: front is free of LibTorch")
        self.finds(source_rules.torch_free, {**files, "launch/CMakeLists.txt": program.format("vmla_model")})

    def test_spdlog_where_libtorch_is_seen(self):
        self.finds(source_rules.torch_free, {"model/network/block.cpp": "#include <spdlog/spdlog.h>\n"}, "model/network/block.cpp:1")

    def test_heavy_header(self):
        self.finds(source_rules.heavy_includes, {"model/network/block.cpp": "#include <torch/torch.h>\n"}, "model/network/block.cpp:1")

    def test_communication_outside_its_folder(self):
        header = "#include <torch/csrc/distributed/c10d/Store.hpp>\n"
        self.finds(source_rules.heavy_includes, {"trainer/loop.cpp": header, "trainer/distributed/job/store.cpp": header},
                   "trainer/loop.cpp:1")

    def test_third_party_library_in_a_header(self):
        self.finds(source_rules.heavy_includes, {"model/network/block.h": "#pragma once\n#include <yaml-cpp/yaml.h>\n"},
                   "model/network/block.h:2")

    def test_libtorch_in_device_code(self):
        self.finds(source_rules.heavy_includes, {"kernels/norm/norm.cu": "#include <ATen/core/Tensor.h>\n"},
                   "kernels/norm/norm.cu:1")

    def test_a_fact_in_a_second_place(self):
        self.finds(source_rules.one_place, {
            "trainer/config/objective_config.h": "#pragma once\nstruct ObjectiveConfig {\n  DmdConfig dmd;\n};\n",
            "trainer/planner/plan.cpp": '// like "dmd"\nif (objective.name == "dmd") return config.objective.dmd.steps;\n',
            "model/network/mode.cpp": 'bool whole = sharding == "hybrid";\n',
        }, 'trainer/planner/plan.cpp:2: "dmd" names an objective', 'model/network/mode.cpp:1: "hybrid" names a sharding mode')

    def test_json_that_is_parsed_unchecked(self):
        self.finds(source_rules.checked_json, {
            "model/io/json_text.h": "return Json::parse(text);\n",
            "analysis/page/page.cpp": "// Json::parse(text)\nconst auto a = nlohmann::ordered_json::parse(text);\n",
            "launch/launcher/link.cpp": "io::parse_json<Json>(text, name);\nif (Json::accept(text)) go();\n",
        }, "analysis/page/page.cpp:2: ordered_json::parse(", "launch/launcher/link.cpp:2: Json::accept(")

    def test_exceptions_of_the_standard_library(self):
        self.finds(source_rules.raw_exceptions, {
            "model/network/block.cpp": "const int a = std::stoi(text);  // not std::stoll(text)\n"
                                       "for (const auto& entry : fs::directory_iterator(folder)) use(entry);\n"
                                       "for (; entry != fs::directory_iterator(); entry.increment(error)) use(*entry);\n",
        }, "model/network/block.cpp:1: throws at what is no number", "model/network/block.cpp:2: throws at an entry")

    def test_a_page_that_names_a_file_that_moved(self):
        page = "See `model/network/block.h`, `model/network/block`, `model/*/block.cpp`, `model/{io,network}/`.\n"
        self.finds(source_rules.paths_in_pages, {"docs/map.md": page + "And `model/block.h`, `model/{io,weights}`.\n"},
                   "docs/map.md:2: model/block.h is not there", "docs/map.md:2: model/weights is not there")

    def test_include_form(self):
        self.finds(source_rules.include_form, {
            "model/network/block.h": '#include "io/log.h"\n#include <kernels/norm/norm.h>\n',
        }, "model/network/block.h:1: has no #pragma once", 'model/network/block.h:1: "io/log.h"', "model/network/block.h:2: <kernels/norm/norm.h>")

    def test_body_that_is_included_once_a_variant(self):
        body = {"model/network/block_body.h": "", "model/network/block.cpp": '#include "model/network/block_body.h"\n'}
        self.finds(source_rules.include_form, body, "model/network/block_body.h:1: has no #pragma once")
        self.finds(source_rules.include_form, {**body, "model/network/block.cpp": 2 * body["model/network/block.cpp"]})
        self.finds(source_rules.include_form, {
            "model/network/block_body.h": '#include "model/network/block_part.h"\n', "model/network/block_part.h": "",
            "model/network/block.cpp": 2 * body["model/network/block.cpp"]})

    def test_glob_and_unlisted_source(self):
        self.finds(source_rules.cmake_form, {
            "cmake/find.cmake": "# file(GLOB x) in a comment is no violation\nfile(GLOB x *.cpp)\nfind_package(Torch)\n",
            "model/network/forgotten.cpp": "",
            "launch/CMakeLists.txt": "add_executable(front main.cpp)\n",
            "launch/main.cpp": '#include "launch/own.h"\n#include "model/network/forgotten.h"\n',
            "launch/own.h": "", "model/network/forgotten.h": "",
        }, "model/network/forgotten.h:1", "cmake/find.cmake:2", "cmake/find.cmake:3", "model/network/forgotten.cpp:1")

    def test_empty_name(self):
        self.finds(source_rules.names, {"model/utils.h": "#pragma once\n", "model/common/x.txt": ""},
                   "'utils'", "'common'")

    def test_open_end(self):
        self.finds(source_rules.open_ends, {"model/network/block.cpp": "int x;\n// TODO: finish\n"}, "model/network/block.cpp:2: TODO")

    def test_path_of_one_machine_and_large_file(self):
        self.finds(source_rules.portable, {"README.md": "see /ro" + "ot/notes\n", "weights.bin": "0" * 1_000_001},
                   "README.md:1", "weights.bin:1")

    def test_citation_of_a_page_that_is_not_there(self):
        page = {"docs/method.md": "# Method\n## 1 Past\n### 1.2 Now\n## The `run` folder\n```sh\n# 9 no heading\n```\n"}
        good = ('// As docs/method.md 1.2 says, and 1; (docs/method.md\n/// 1 and 1.2), docs/method.md "The run\n'
                '// folder". See README.md.\nauto s = "docs/method.md has it" "; docs/method.md \\"1 Past\\"";\n')
        files = {**page, "README.md": "[now](docs/method.md#12-now), `[no](nowhere)`\n", "model/io/log.cpp": good}
        self.finds(source_rules.citations, files)
        for planted, line, what in (
                ("// docs/other.md", 1, "docs/other.md is no page"),
                ("// method.md 1.2", 1, "method.md is no page"),
                ("//\n// docs/method.md\n// 1.3", 2, "docs/method.md has no section 1.3"),
                ("// docs/method.md 1.2 and 2", 1, "docs/method.md has no section 2"),
                ("// docs/method.md 1 to 9", 1, "docs/method.md has no section 9"),
                ("// docs/method.md, section 1", 1, "'docs/method.md, section 1'; write the number right behind the page"),
                ("// docs/method.md \"The run\n// file\"", 1, 'docs/method.md has no heading "The run file"'),
                ("auto s = \"docs/method.md \\\"Future\\\"\";", 1, 'docs/method.md has no heading "Future"'),
                ("int x;\n\n// (Wan2.1, method\n// 1.2)", 3, "'method 1.2'; a page is cited by its path"),
                ("// method, section 1", 1, "'method, section 1'")):
            self.finds(source_rules.citations, {**files, "model/io/log.cpp": planted}, f"model/io/log.cpp:{line}: {what}")
            self.finds(source_rules.citations, {**files, "configs/a.yaml": planted.replace("//", "#")},
                       f"configs/a.yaml:{line}: {what}")

    def test_link_that_leads_nowhere(self):
        page = "## Twice\n## Twice\n## A `b` c: d, e\n[x](#twice-1) [y](#a-b-c-d-e) [z](../kernels) [w](https://a.b/c#d) [v](a.md#twice)\n"
        self.finds(source_rules.citations, {"docs/a.md": page})
        self.finds(source_rules.citations, {"docs/a.md": page + "[x](#twice-2)\n[y](b.md)\n\n[z](../kernels/norm/norm.h#x)\n"},
                   "docs/a.md:5: the link leads to #twice-2", "docs/a.md:6: the link leads to docs/b.md", "docs/a.md:6: b.md is no page",
                   "docs/a.md:8: the link leads to #x")

    def test_torch_free_sources_are_listed(self):
        with tempfile.TemporaryDirectory() as folder:
            for path, text in CLEAN.items():
                Path(folder, path).parent.mkdir(parents=True, exist_ok=True)
                Path(folder, path).write_text(text)
            free = [f for t in SourceTree(folder).targets() if t.torch_free for f in t.files]
            self.assertEqual(free, ["model/io/log.h", "model/io/log.cpp"])


if __name__ == "__main__":
    unittest.main()
