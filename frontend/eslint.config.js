import js from "@eslint/js";
import reactHooks from "eslint-plugin-react-hooks";
import tseslint from "typescript-eslint";

export default tseslint.config(
  { ignores: ["**/dist/", "**/node_modules/", "client/src/generated/"] },
  js.configs.recommended,
  {
    files: ["client/**/*.ts", "react/**/*.{ts,tsx}", "app/**/*.{ts,tsx}"],
    extends: [...tseslint.configs.strictTypeChecked, ...tseslint.configs.stylisticTypeChecked],
    languageOptions: {
      parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname },
    },
    rules: {
      // Numbers in texts for people need no String() around them.
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true }],
      // The generated types are type aliases; ours follow them.
      "@typescript-eslint/consistent-type-definitions": "off",
      "@typescript-eslint/consistent-type-imports": "error",
      "@typescript-eslint/switch-exhaustiveness-check": [
        "error",
        { considerDefaultExhaustiveForUnions: true },
      ],
      "@typescript-eslint/explicit-module-boundary-types": "error",
      eqeqeq: ["error", "always"],
      "no-console": "error",
    },
  },
  {
    files: ["react/**/*.{ts,tsx}", "app/**/*.{ts,tsx}"],
    extends: [reactHooks.configs.flat.recommended],
    rules: { "@typescript-eslint/explicit-module-boundary-types": "off" },
  },
);
