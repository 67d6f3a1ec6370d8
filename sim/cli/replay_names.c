/* SPDX-License-Identifier: Apache-2.0
 *
 * Names in descriptions of recorded runs -> bundled names. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "sim/cli/replay_meta.h"

/* First match counts. A superchip's GPU is a line of its own: its memory and power differ. */
static const struct {
    const char *said, *bundled;
} gpus[] = {
    {"RTXPRO6000", "rtx-pro-6000"}, {"RTX PRO 6000", "rtx-pro-6000"}, {"rtx-pro-6000", "rtx-pro-6000"},
    {"H100-PCIE", "h100-pcie"},     {"H100", "h100"},                 {"H200", "h200"},
    {"A100-80G", "a100-80g"},       {"A100-40G", "a100-40g"},         {"A10G", "a10g"},
    {"L40S", "l40s"},               {"A40", "a40"},                   {"L4", "l4"},
    {"GB200", "gb200"},             {"GB300", "gb300"},               {"B200", "b200"},
    {"B300", "b300"},               {"MI300X", "mi300x"},             {"MI250", "mi250"},
    {"Gaudi2", "gaudi2"},           {"Max 1550", "max-1550"},         {"PVC", "max-1550"},
};

const char *replay_gpu_name(const char *said)
{
    for (size_t i = 0; i < sizeof(gpus) / sizeof(gpus[0]); i++) {
        if (strcasestr(said, gpus[i].said)) {
            return gpus[i].bundled;
        }
    }
    return NULL;
}

/* Suffixes that do not change a model's shape: file format, tuning, release, type of the weights. */
static bool cut_suffix(char *s)
{
    static const char *const suffixes[] = {"-hf", "-instruct", "-chat", "-thinking", "-it", "-v0.1", "-2407", "-2507",
                                           "-0528", "-fp8", "-nvfp4", "-bf16", "-dynamic"};
    size_t len = strlen(s);

    for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
        size_t n = strlen(suffixes[i]);

        if (len > n && strcmp(s + len - n, suffixes[i]) == 0) {
            s[len - n] = '\0';
            return true;
        }
    }
    return false;
}

/* Models of one shape, and other spellings. */
static const char *alias(const char *s)
{
    static const char *const names[][2] = {
        {"deepseek-r1", "deepseek-v3"},        {"deepseek-v3.1", "deepseek-v3"},   {"llama2-70b", "llama-2-70b"},
        {"llama-3.3-70b", "llama-3.1-70b"},    {"meta-llama-3-8b", "llama-3-8b"},  {"meta-llama-3-70b", "llama-3-70b"},
        {"meta-llama-3.1-8b", "llama-3.1-8b"}, {"kimi-k2.5", "kimi-k2"},           {"qwen3-coder-30b-a3b", "qwen3-30b-a3b"},
        {"meta-llama-3.1-70b", "llama-3.1-70b"},
    };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(s, names[i][0]) == 0) {
            return names[i][1];
        }
    }
    return s;
}

const char *replay_model_name(const char *said, struct arena *ar)
{
    const char *slash = strrchr(said, '/');
    char *s = arena_strdup(ar, slash ? slash + 1 : said);
    char *end;

    if (!s) {
        return NULL;
    }
    for (char *p = s; *p; p++) {
        *p = (char)tolower((unsigned char)*p);
    }
    end = strpbrk(s, " (");
    if (end) {
        *end = '\0';
    }
    while (cut_suffix(s)) {
    }
    return alias(s);
}

/* generation_config.json on the hub: top_p 0.9 in Llama 2 and 3, top_p 0.8 or 0.95 and top_k 20 in Qwen,
 * top_p 0.95 and top_k 64 in Gemma 3, top_p 0.95 in DeepSeek-R1. None in CodeLlama, Mixtral, Mistral-Nemo,
 * gpt-oss. vLLM replaced the sort by a kernel of its own in February 2026 (pull request 33538), so from 0.17. */
const char *replay_sampling(const char *model, const char *version)
{
    static const char *const filtered[] = {"llama-2", "llama-3", "qwen2.5", "qwen3", "gemma-3", "deepseek-"};
    unsigned major = 0, minor = 0;
    bool dated = sscanf(version, "%u.%u", &major, &minor) == 2;

    for (size_t i = 0; i < sizeof(filtered) / sizeof(filtered[0]); i++) {
        if (strncmp(model, filtered[i], strlen(filtered[i])) == 0) {
            return dated && major == 0 && minor < 17 ? "sort" : "select";
        }
    }
    return NULL;
}

const char *replay_model_trouble(const char *name)
{
    static const char *const trouble[][2] = {
        {"qwen3.5", "three of four layers have linear attention, which no cost model has"},
        {"glm-5", "sparse attention (an indexer picks the keys), which no cost model has"},
        {"nvidia-nemotron", "most layers are Mamba-2, which no cost model has"},
        {"llama-4", "chunked attention and experts in every layer or every other: no shape is bundled"},
        {"decilm", "the number of KV heads differs by layer, which no shape can say"},
    };

    for (size_t i = 0; i < sizeof(trouble) / sizeof(trouble[0]); i++) {
        if (strncmp(name, trouble[i][0], strlen(trouble[i][0])) == 0) {
            return trouble[i][1];
        }
    }
    return "no shape of this model is bundled";
}
